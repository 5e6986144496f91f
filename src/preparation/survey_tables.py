"""Show the results of a survey in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from src.data.survey import Survey
from src.system.counted import counted

AS_IS: dict[str, Any] = {"highlight": False, "soft_wrap": True, "markup": False}  # how the console prints a line


def class_table(found: Survey, classes: Sequence[str]) -> Table:
    """Return a table with a row for each class: its pixels, their fraction, and the images that contain it."""
    table = Table()
    for column in ("class", "pixels", "%", "images"):
        table.add_column(column, justify="left" if column == "class" else "right")
    rows = found.rows(classes)
    total = max(1, found.pixels.sum())
    for index, (name, pixels, images) in enumerate(rows):
        if index == len(rows) - 1:  # void
            table.add_section()
        table.add_row(escape(name), f"{pixels:,}", f"{100 * pixels / total:.2f}", f"{images:,}")
    return table


def describe_survey(found: Survey) -> str:
    """Return a line with the numbers of samples and good samples, and their sizes."""
    words = f"{counted(found.samples, 'sample')}, {found.samples - len(found.faults):,} good"
    if not found.sizes:
        return words
    if len(found.sizes) == 1:
        return f"{words}, {'{}x{}'.format(*next(iter(found.sizes)))} pixels"
    widths, heights = (f"{min(side)} to {max(side)}" for side in zip(*found.sizes, strict=True))
    return f"{words}, {widths} pixels wide, {heights} high"
