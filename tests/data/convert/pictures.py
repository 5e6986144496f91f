"""Images for exports, and what a conversion has made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.data.convert import Conversion, convert
from src.data.convert.source import open_source

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200), (200, 30, 200)]


def write_image(path: Path, width: int, height: int, orientation: int = 1) -> Path:
    """Write an image of random pixels, with an EXIF orientation; sides are those before it turns the image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(path.name.encode())).integers(0, 255, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[274] = orientation
    image.save(path, exif=exif)
    return path


def write_json(path: Path, content: Any) -> Path:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def run(source: Path, target: Path, images: Path | None = None, **options: Any) -> Conversion:
    """Convert what is good of a source into a folder that does not exist yet."""
    target.mkdir(parents=True)
    with open_source(source, target.with_name(f"{target.name}_scratch"), images) as opened:
        return convert(opened, target, **{"on_error": "skip", **options})


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    """Return the label maps that a conversion wrote, by name."""
    paths = sorted((folder / "masks").rglob("*.png"))
    return {path.relative_to(folder / "masks").with_suffix("").as_posix(): np.array(Image.open(path)) for path in paths}


Write = Callable[..., Path]
