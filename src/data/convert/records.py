"""A common form for the labels of all tools: images with shapes to draw, or with a mask file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from src.data.colours import Colour
from src.data.convert.regions import Region
from src.data.dataset import DatasetError
from src.data.decode import Mask
from src.labels import VOID, LabelMap

BACKGROUND = "background"
BACKGROUND_NAMES = ("background", "unlabelled", "unlabeled")  # compared without case and surrounding underscores
VOID_NAMES = ("void", "ignore", "ignored")


class Shape(NamedTuple):
    """A region of an image and its class.

    Attributes:
        label: class index, or ``VOID``.
        region: the pixels.
        level: shapes are drawn by increasing level, then in order; later ones cover earlier ones. Shapes without a
            level (None) are drawn last, by decreasing area.
    """

    label: int
    region: Region
    level: int | None = None


@dataclass
class Record:
    """An image and its labels.

    Attributes:
        image: the image file.
        split: "train", "val" or "test"; "" if the labels have none.
        source: the file of the labels, for messages: "labels/a.txt".
        size: (width, height) of the labelled image; None if the labels do not contain it.
        shapes: the shapes to draw.
        mask: a mask file instead of shapes.
        faults: one line for each fault in the labels.
    """

    image: Path
    split: str
    source: str
    size: tuple[int, int] | None = None
    shapes: list[Shape] = field(default_factory=list)
    mask: Path | None = None
    faults: list[str] = field(default_factory=list)


class MaskReader(Protocol):
    """Turns the content of a mask file into a label map."""

    def classes_of(self, mask: Mask, path: Path) -> LabelMap:
        """Return the class of each pixel; raise ``DatasetError`` for an unknown value or colour."""


@dataclass
class Labels:
    """All labels of a source.

    Attributes:
        classes: class names by index.
        records: the images.
        unlabelled: the label of pixels that no shape covers.
        faults: one line for each fault that belongs to no record.
        notes: lines of information for the user.
        palette: the colour of each class, if the tool has colours.
        masks: the reader of mask files, if records have these.
    """

    classes: Sequence[str]
    records: list[Record]
    unlabelled: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    palette: Sequence[Colour] | None = None
    masks: MaskReader | None = None


class ClassIndex:
    """Maps a tool's class names to indices.

    The background is class 0 if unlabelled pixels are background, or if the tool has such a class. Names that mean
    "ignore", such as labelme's ``__ignore__``, are ``VOID``.

    Args:
        names: the tool's names, in its order; repetitions are allowed.
        unlabelled: "background" or "void" for pixels without a label.
    """

    def __init__(self, names: Iterable[str], unlabelled: str) -> None:
        stripped = list(dict.fromkeys(name.strip() for name in names))
        has_background = any(map(is_background, stripped))
        ordinary = [name for name in stripped if not is_background(name) and not is_void(name)]
        first = [BACKGROUND] if has_background or unlabelled == "background" else []
        self.classes = [*first, *ordinary]
        self.unlabelled = 0 if unlabelled == "background" else VOID
        self.void_names = [name for name in stripped if is_void(name)]

    def __getitem__(self, name: str) -> int:
        name = name.strip()
        if is_void(name):
            return VOID
        return self.classes.index(BACKGROUND if is_background(name) else name)

    def notes(self) -> list[str]:
        """Return lines about names that are not classes, and about unlabelled pixels."""
        lines = [f"{name}: does not count (void)" for name in self.void_names]
        return [*lines, f"pixels without a label: {'void' if self.unlabelled == VOID else BACKGROUND}"]


def is_background(name: str) -> bool:
    """Tell whether a class name means the background."""
    return name.strip("_ ").casefold() in BACKGROUND_NAMES


def is_void(name: str) -> bool:
    """Tell whether a class name marks pixels that do not count."""
    return name.strip("_ ").casefold() in VOID_NAMES


def check_unlabelled(unlabelled: str | None, default: str) -> str:
    """Return the meaning of pixels without a label: the user's choice, or the format's default.

    Raises:
        DatasetError: if it is neither "background" nor "void".
    """
    if unlabelled not in (None, BACKGROUND, "void"):
        raise DatasetError(f"unlabelled={unlabelled}: must be background or void")
    return unlabelled or default
