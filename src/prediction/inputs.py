"""Images as people have them: found by file, folder or pattern, and read as upright 8-bit RGB or refused by name."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from src.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jp2", ".avif")
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


def find_images(given: str, without: Sequence[Path] = ()) -> tuple[Path, list[Path]]:
    """A file, all images below a folder, or what matches a pattern such as "photos/**/*.jpg".

    Args:
        without: folders that are not looked into.

    Returns:
        The folder that names of results are relative to, and the files by name.

    Raises:
        UserError: if there is nothing, or no image among it.
    """
    path = Path(given)
    if path.is_dir():
        base, found = path, sorted(images_below(path, {os.path.realpath(folder) for folder in without}))
    elif glob.has_magic(given) and not path.exists():
        # The shortest way to each file: "**" walks a loop of links many times over.
        matches = sorted(map(Path, glob.glob(given, recursive=True)), key=lambda match: len(match.parts), reverse=True)
        files = {(os.path.realpath(match.parent), match.name): match for match in matches}.values()
        found = sorted(match for match in files if match.suffix.lower() in SUFFIXES or not match.is_dir())
        parts = path.parts
        base = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
    elif os.path.lexists(given):
        base, found = path.parent, [path]
    else:
        raise UserError(f"input={given}: no such file or folder; quote a pattern: 'input=photos/*.jpg'")
    if not found:
        raise UserError(f"input={given}: no image there; endings looked for: {', '.join(SUFFIXES)}")
    return base, found


def images_below(folder: Path, without: set[str]) -> Iterator[Path]:
    """By ending, links to folders followed; a folder is entered once, whatever links lead to it."""
    entered = set(without)
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        # A folder with an image's ending is somebody's mistake: it is named, not entered.
        named = [name for name in folders if Path(name).suffix.lower() in SUFFIXES]
        folders[:] = sorted(set(folders) - set(named))
        yield from (Path(place, name) for name in [*files, *named] if Path(name).suffix.lower() in SUFFIXES)


def result_names(files: list[Path], base: Path) -> list[str]:
    """A name for each file's results: its path below ``base`` without the ending, or with it where two would meet."""
    whole = [str(path.relative_to(base)) for path in files]
    short = [str(Path(name).with_suffix("")) for name in whole]
    shared = Counter(short)
    names = [name if shared[stem] > 1 else stem for name, stem in zip(whole, short, strict=True)]
    return names if len(set(names)) == len(names) else whole


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """RGB, turned upright by its EXIF orientation; transparent parts stand on white, 16 bits are brought to 8.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder, not an image")
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: empty (0 bytes)")
        with Image.open(path) as image:
            if image.width * image.height > (limit := Image.MAX_IMAGE_PIXELS or sys.maxsize):
                raise UserError(f"{path}: {image.width}x{image.height}, more than {limit:,} pixels; cut it into tiles")
            return rgb(image, str(path))
    except Image.UnidentifiedImageError as error:
        raise UserError(f"{path}: no image that Pillow can read") from error
    except Image.DecompressionBombError as error:  # at twice the limit
        raise UserError(f"{path}: more than {Image.MAX_IMAGE_PIXELS:,} pixels; cut it into tiles") from error
    # Decoders meet broken files with all of these.
    except (OSError, SyntaxError, ValueError, IndexError, EOFError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split()) or type(error).__name__})") from error


def rgb(image: Image.Image, name: str = "image") -> UInt8[np.ndarray, "height width 3"]:
    """An opened image of Pillow, as ``read_image`` gives it.

    Raises:
        UserError: if it is an animation or a document, or its samples have no fixed range.
    """
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":  # MPO: a photograph and its preview
        raise UserError(f"{name}: {frames} frames; save the one that is meant as an image of its own")
    if image.mode in ("I", "F"):
        raise UserError(f"{name}: samples of 32 bits (mode {image.mode}), whose range is not known; convert it to 8")
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BITS:  # Pillow's own conversion clips
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))
