"""Pages of HTML that hold their pictures, and look alike."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from src.drawing.pictures import Picture


def render(template: Path, filters: Mapping[str, Callable[..., Any]] | None = None, **values: Any) -> str:
    """Return the text of a page; all values in it are escaped, as are bytes of no encoding in the names of files.

    Args:
        template: may extend ``frame.html.jinja``, which gives all pages their style.
        filters: of the template, beside ``number`` and ``is_known``.
        values: for the template.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "is_known": is_known, **(filters or {})}
    return environment.get_template(template.name).render(values).encode(errors="backslashreplace").decode()


def number(value: float | None, form: str = ".1f") -> str:
    """Format a number with a true minus sign; a dash if it does not exist."""
    if value is None or isnan(value):
        return "–"
    text = format(value, form)
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def is_known(value: float | None) -> bool:
    """Tell whether a value exists."""
    return value is not None and not isnan(value)


def css_colour(rgb: Sequence[int]) -> str:
    """Return a colour in CSS notation."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def subsampling_step(shape: Sequence[int], side: int) -> int:
    """Return which of so many rows and columns to take, so that the longest side of a picture is at most ``side``."""
    return max(1, -(-max(shape) // side))


def shrink_photo(image: Picture, step: int) -> Picture:
    """Return an image whose sides are divided by a step, and rounded up."""
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((-(-width // step), -(-height // step))))


def data_uri(picture: Image.Image, kind: str) -> str:
    """Return a picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=82, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
