"""Read mask files: by the class of each value, or of each colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from src.data.colours import Colour, ColourTable
from src.data.convert.records import ClassIndex, is_background
from src.data.dataset import DatasetError
from src.data.decode import Mask
from src.labels import MAX_CLASSES, VOID, LabelMap

RGB = tuple[int, int, int]


class ValueMasks:
    """Reads masks whose values (grey, or palette indices) stand for classes.

    Args:
        classes: the class, or ``VOID``, of each value.
    """

    def __init__(self, classes: Mapping[int, int]) -> None:
        self.classes = classes

    def classes_of(self, mask: Mask, path: Path) -> LabelMap:
        """Return the class of each pixel; raise ``DatasetError`` for an unknown value."""
        if mask.values.ndim != 2:
            raise DatasetError(f"{path}: has colours, while other masks have values; save all masks in the same way")
        present, places = np.unique(mask.values, return_inverse=True)
        if unknown := [value for value in present.tolist() if value not in self.classes]:
            raise DatasetError(f"{path}: the values {unknown[:10]} are not classes")
        table = np.array([self.classes[value] for value in present.tolist()], np.uint8)
        return table[places.reshape(mask.values.shape)]


class ColourMasks:
    """Reads masks whose colours stand for classes, including palette and grey masks.

    Args:
        classes: the class, or ``VOID``, of each colour.

    Raises:
        DatasetError: if there are too many colours.
    """

    def __init__(self, classes: Mapping[RGB, int]) -> None:
        if len(classes) > MAX_CLASSES:
            raise DatasetError(f"{len(classes):,} colours; masks may have at most {MAX_CLASSES}")
        self.table = ColourTable(list(classes), None)
        self.classes = np.full(256, VOID, np.uint8)
        self.classes[: len(classes)] = list(classes.values())

    def classes_of(self, mask: Mask, path: Path) -> LabelMap:
        """Return the class of each pixel; raise ``DatasetError`` for an unknown colour."""
        return self.classes[self.table.classes_of(mask, path)]


def index_names(names: Sequence[str], unlabelled: str) -> tuple[list[str], list[int]]:
    """Return the classes, and the class index or ``VOID`` for each name.

    Args:
        names: names of the values or colours in the masks.
        unlabelled: "void" makes the background void; "background" keeps it as a class.
    """
    classes = ClassIndex([n for n in names if unlabelled == "background" or not is_background(n)], "void")
    return classes.classes, [VOID if unlabelled == "void" and is_background(name) else classes[name] for name in names]


def palette_of(classes: Sequence[str], names: Sequence[str], colours: Sequence[Colour]) -> list[Colour]:
    """Return the colour of each class, given the colour of each name."""
    by_name = {
        "background" if is_background(name) else name: colour for name, colour in zip(names, colours, strict=True)
    }
    return [by_name[name] for name in classes]
