"""Samples, and the interface of data sets."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import Dataset

from src.errors import UserError
from src.labels import MAX_CLASSES, LabelMap

Picture = UInt8[np.ndarray, "height width 3"]  # RGB


class DatasetError(UserError):
    """An error in the data; the message names the file and the remedy."""


class Sample(NamedTuple):
    """One image with its annotation; the image is not normalised, because the CRF needs its colours."""

    image: Picture
    label: LabelMap
    id: str


class SegmentationDataset(Dataset[Sample], ABC):
    """Samples by index, with the names and colours of the classes.

    Attributes:
        classes: names of the classes.
        palette: colour of each class, RGB.
        strays: a line for each file in the folders that belongs to no sample.
        labels: the labels that ``check`` has seen.
        may_be_void: whether label maps may be void everywhere, because the annotation is not public.
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
        """Return a sample and no faults, or None and all its faults; each fault is a line that names its file."""
        return self[index], []

    def check(self, workers: int = 0) -> None:
        """Check the data before time is spent on training.

        Args:
            workers: number of processes to use.

        Raises:
            DatasetError: naming the faulty files.
        """

    def image_files(self) -> Set[Path]:
        """Return the files of the images, by which one finds images that two splits share; none if there are none."""
        return frozenset()

    def explain_binary_masks(self) -> str:
        """Return why masks that hold only 0 and void are likely a mistake, and the remedy; "" if they are not."""
        return ""

    def open_cache(self, workers: int = 0) -> None:
        """Open the cache of decoded samples, if the data set has one; build it first if necessary."""


def check_classes(classes: Any) -> tuple[str, ...]:
    """Check the names of classes, and return them as a tuple.

    Raises:
        DatasetError: unless they are 1 to 255 different texts.
    """
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise DatasetError(f"classes={classes}: must be a list of names by index: 'classes=[background,cat]'")
    if not classes:
        raise DatasetError("classes=[]: name them by index: 'classes=[background,cat]'")
    if len(classes) > MAX_CLASSES:
        raise DatasetError(f"classes=[...] has {len(classes)} names; a label map holds {MAX_CLASSES} at most")
    names = list(classes)
    for index, name in enumerate(names):
        shown = json.dumps(name, ensure_ascii=False, default=str)
        place = f"classes=[...]: name {index} is {shown}"
        if not isinstance(name, str):
            raise DatasetError(
                f"{place}, which is not a text; quote it: 'classes=[\"{json.dumps(name, default=str)}\",...]'"
            )
        if not name.strip() or not name.isprintable():
            raise DatasetError(f"{place}; a name must be a text that can be printed in one line")
        if name in names[:index]:
            raise DatasetError(f"{place}, and so is name {names.index(name)}; every class needs a name of its own")
    return tuple(names)
