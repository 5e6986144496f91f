"""Find class names and colours in files next to masks."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from src.data.convert.masks import RGB
from src.data.convert.source import Source, read_text
from src.data.dataset import DatasetError

LABELMAP = "labelmap.txt"  # CVAT: label:color_rgb:parts:actions
NAMES = ("classes.txt", "class_names.txt", "label_names.txt", "labels.txt", "names.txt", "codes.txt")
COLOURS = ("label_colors.txt", "class_dict.csv", "classes.csv", "colormap.csv", "_classes.csv")


class ClassList(NamedTuple):
    """Class names by index, and their colours if the file has any."""

    path: Path
    names: list[str]
    colours: list[RGB]


def find_class_list(source: Source) -> ClassList | None:
    """Return a source's class list; None if there is none.

    Raises:
        DatasetError: if a file is broken.
    """
    by_name = {path.name.lower(): path for path in reversed(source.files)}
    for name in (LABELMAP, *COLOURS, *NAMES):
        if (path := by_name.get(name)) is not None:
            try:
                reader = read_labelmap if name == LABELMAP else read_colours if name in COLOURS else read_names
                return reader(path)
            except DatasetError as error:
                raise DatasetError(f"{source.relative(path)}: {error}") from error
    return None


def read_labelmap(path: Path) -> ClassList:
    """Return the classes of CVAT's labelmap.txt."""
    rows = [line.rsplit(":", 3) for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    if any(len(row) != 4 for row in rows):
        raise DatasetError("a line must be label:color_rgb:parts:actions")
    return ClassList(path, [row[0].strip() for row in rows], [parse_colour(row[1].split(",")) for row in rows])


def read_colours(path: Path) -> ClassList:
    """Return classes from lines with a name and three numbers: a CSV file with a header, or separated by spaces.

    Roboflow's _classes.csv has a value and a name.
    """
    text = read_text(path)
    rows = list(csv.reader(io.StringIO(text), skipinitialspace=True)) if path.suffix == ".csv" else []
    if path.name == "_classes.csv":
        numbered = sorted((int(row[0]), row[1].strip()) for row in rows if row and row[0].strip().isdecimal())
        return ClassList(path, [name for _, name in numbered], [])
    rows = rows or [re.split(r"\s+", line.strip()) for line in text.splitlines()]
    names, colours = [], []
    for row in rows:
        digits = [word for word in row if word.strip().isdecimal()]
        words = [word for word in row if word.strip() and not word.strip().isdecimal()]
        if len(digits) == 3 and words:
            names.append(" ".join(words).strip())
            colours.append(parse_colour(digits))
    if not names:
        raise DatasetError("a line must have a name and three numbers, red, green and blue")
    return ClassList(path, names, colours)


def read_names(path: Path) -> ClassList:
    """Return classes from lines with a name each."""
    return ClassList(path, [line.strip() for line in read_text(path).splitlines() if line.strip()], [])


def parse_colour(words: list[str]) -> RGB:
    """Return the RGB colour of three numbers.

    Raises:
        DatasetError: if they are not a colour.
    """
    if len(words) != 3 or not all(word.strip().isdecimal() and int(word) < 256 for word in words):
        raise DatasetError(f"{','.join(words)} is not a colour of three numbers from 0 to 255")
    red, green, blue = map(int, words)
    return red, green, blue
