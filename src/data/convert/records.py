"""The labels of any tool in one form: images with shapes to draw, or with a mask file."""

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
BACKGROUND_NAMES = ("background", "unlabelled", "unlabeled")  # compared without case and underscores around the name
VOID_NAMES = ("void", "ignore", "ignored")


class Shape(NamedTuple):
    """A region of an image and its class.

    Attributes:
        label: index of the class, or ``VOID``.
        region: the pixels.
        level: shapes are drawn by rising level, and those of one level in their order; later ones cover earlier ones.
            None: after all that have a level, by falling area.
    """

    label: int
    region: Region
    level: int | None = None


@dataclass
class Record:
    """An image and its labels.

    Attributes:
        image: the image file.
        split: "train", "val" or "test"; "" if the labels do not say.
        source: where the labels were read, for messages: "labels/a.txt".
        size: (width, height) of the image as the tool saw it; None if the labels do not say.
        shapes: what to draw.
        mask: a mask file in place of shapes.
        faults: what is wrong with the labels, a line each.
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
        """Return the class of each pixel; raise ``DatasetError`` for a value or colour that is none."""


@dataclass
class Labels:
    """All labels of a source.

    Attributes:
        classes: names by index.
        records: the images.
        unlabelled: the label of pixels that no shape covers.
        faults: what is wrong apart from any record, a line each.
        notes: what the user should know, a line each.
        palette: the colour of each class, if the tool has given them.
        masks: reads mask files, if records have these.
    """

    classes: Sequence[str]
    records: list[Record]
    unlabelled: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    palette: Sequence[Colour] | None = None
    masks: MaskReader | None = None


class ClassIndex:
    """Gives the names that a tool uses their indices.

    The background is class 0 if unlabelled pixels are background, or if the tool has such a class. Names that mean
    "does not count", such as labelme's ``__ignore__``, are ``VOID``.

    Args:
        names: of the tool, in its order; names that occur again count once.
        unlabelled: "background" or "void": what pixels without a label are.
    """

    def __init__(self, names: Iterable[str], unlabelled: str) -> None:
        stripped = list(dict.fromkeys(name.strip() for name in names))
        own = next((name for name in stripped if is_background(name)), None)
        ordinary = [name for name in stripped if not is_background(name) and not is_void(name)]
        first = [BACKGROUND] if own is not None or unlabelled == "background" else []
        self.classes = [*first, *ordinary]
        self.unlabelled = 0 if unlabelled == "background" else VOID
        self.void_names = [name for name in stripped if is_void(name)]

    def __getitem__(self, name: str) -> int:
        name = name.strip()
        if is_void(name):
            return VOID
        return self.classes.index(BACKGROUND if is_background(name) else name)

    def notes(self) -> list[str]:
        """Return lines about the names that are not classes, and about pixels without a label."""
        lines = [f"{name}: does not count (void)" for name in self.void_names]
        return [*lines, f"pixels without a label: {'void' if self.unlabelled == VOID else BACKGROUND}"]


def is_background(name: str) -> bool:
    """Tell whether a class is the background by its name."""
    return name.strip("_ ").casefold() in BACKGROUND_NAMES


def is_void(name: str) -> bool:
    """Tell by its name whether a class marks pixels that do not count."""
    return name.strip("_ ").casefold() in VOID_NAMES


def check_unlabelled(unlabelled: str | None, default: str) -> str:
    """Return what pixels without a label are: the format's default, if the user does not say.

    Raises:
        DatasetError: if it is neither "background" nor "void".
    """
    if unlabelled not in (None, BACKGROUND, "void"):
        raise DatasetError(f"unlabelled={unlabelled}: must be background or void")
    return unlabelled or default
