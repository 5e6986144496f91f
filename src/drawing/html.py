"""Self-contained HTML pages with a common style."""

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
    """Return the HTML of a page; all values are escaped, as are undecodable bytes in file names.

    Args:
        template: template of the page; it may extend ``frame.html.jinja``, the common style.
        filters: filters of the template, in addition to ``number`` and ``is_known``.
        values: values for the template.
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
    """Format a number with a true minus sign; None and NaN as a dash."""
    if value is None or isnan(value):
        return "–"
    text = format(value, form)
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def is_known(value: float | None) -> bool:
    """Return whether a value is neither None nor NaN."""
    return value is not None and not isnan(value)


def css_colour(rgb: Sequence[int]) -> str:
    """Return a colour in CSS notation."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def subsampling_step(shape: Sequence[int], side: int) -> int:
    """Return the step n for which every n-th row and column give a picture with no side longer than ``side``."""
    return max(1, -(-max(shape) // side))


def shrink_photo(image: Picture, step: int) -> Picture:
    """Return an image whose sides are divided by ``step`` and rounded up."""
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((-(-width // step), -(-height // step))))


def data_uri(picture: Image.Image, kind: str) -> str:
    """Return a picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=82, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
