"""Samples, and the interface of data sets."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import Dataset

from src.labels import MAX_CLASSES, LabelMap
from src.system.errors import UserError

Picture = UInt8[np.ndarray, "height width 3"]  # RGB


class DatasetError(UserError):
    """Raised for an error in the data; the message gives the file and the remedy."""

    part = "dataset"


class Sample(NamedTuple):
    """An image and its label map; the image is not normalised, because the CRF needs its colours."""

    image: Picture
    label: LabelMap
    id: str


class SegmentationDataset(Dataset[Sample], ABC):
    """A data set of samples, with the names and colours of its classes.

    Attributes:
        classes: names of the classes.
        palette: colour of each class, RGB.
        strays: a line for each file that belongs to no sample.
        labels: the labels that ``check`` found.
        may_be_void: whether label maps may be entirely void, because the annotation is not public.
    """

    classes: Sequence[str]
    palette: UInt8[np.ndarray, "classes 3"]
    strays: Sequence[str] = ()
    labels: Set[int] = frozenset()
    may_be_void: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    def inspect(self, index: int) -> tuple[Sample | None, list[str]]:
        """Return a sample and no faults, or None and all its faults; each is a line that starts with the file."""
        try:
            return self[index], []
        except DatasetError as error:
            return None, str(error).splitlines()

    def check(self, workers: int = 0) -> None:
        """Check the data before time is spent on training.

        Args:
            workers: number of processes to use.

        Raises:
            DatasetError: with the faulty files.
        """

    def image_files(self) -> Set[Path]:
        """Return the image files, to find images that two splits share; empty if there are no files."""
        return frozenset()

    def explain_binary_masks(self) -> str:
        """Return why masks with only 0 and void are probably a mistake, and the remedy; "" if they are not."""
        return ""

    def open_cache(self, workers: int = 0) -> None:
        """Open the cache of decoded samples, if the data set has one; build it first if necessary."""


def check_classes(classes: Any) -> tuple[str, ...]:
    """Check the names of classes and return them as a tuple.

    Raises:
        DatasetError: unless they are 1 to 255 different strings.
    """
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise DatasetError(f"classes={classes}: must be a list of names by index: 'classes=[background,cat]'")
    if not classes:
        raise DatasetError("classes=[]: name them by index: 'classes=[background,cat]'")
    if len(classes) > MAX_CLASSES:
        raise DatasetError(f"classes=[...] has {len(classes)} names; the maximum is {MAX_CLASSES}")
    names = list(classes)
    for index, name in enumerate(names):
        shown = json.dumps(name, ensure_ascii=False, default=str)
        place = f"classes=[...]: name {index} is {shown}"
        if not isinstance(name, str):
            raise DatasetError(
                f"{place}, which is not a string; quote it: 'classes=[\"{json.dumps(name, default=str)}\",...]'"
            )
        if not name.strip() or not name.isprintable():
            raise DatasetError(f"{place}; a name must be a non-empty string of printable characters")
        if name in names[:index]:
            raise DatasetError(f"{place}, and so is name {names.index(name)}; class names must be unique")
    return tuple(names)
