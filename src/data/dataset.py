"""What a sample is, and what every dataset gives."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import Dataset

from src.errors import UserError
from src.labels import MAX_CLASSES, LabelMap

Picture = UInt8[np.ndarray, "height width 3"]  # RGB


class DatasetError(UserError):
    """A fault in the data; the message names the file and the remedy."""


class Sample(NamedTuple):
    """One image with its annotation, as stored: the network normalises, the CRF wants raw colours."""

    image: Picture
    label: LabelMap
    id: str


class SegmentationDataset(Dataset[Sample], ABC):
    """Samples by index, the names of the classes and the colours to draw them in."""

    classes: Sequence[str]
    palette: UInt8[np.ndarray, "classes 3"]
    strays: Sequence[str] = ()  # faults of the folders: files that belong to no sample
    may_be_void: bool = False  # tells that nobody may see the annotation, so that its label maps hold no class

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    def inspect(self, index: int) -> tuple[Sample | None, list[str]]:
        """A sample and no fault, or None and all its faults, each naming its file."""
        return self[index], []

    def check(self, workers: int = 0) -> None:
        """Find faults before any time is spent on training.

        Args:
            workers: processes that may be used.

        Raises:
            DatasetError: naming every faulty file that was looked at.
        """

    def open_cache(self, workers: int = 0) -> None:
        """Make samples cheap to get again, where the dataset was told to."""


def check_classes(classes: Any) -> tuple[str, ...]:
    """Return the names of classes as a tuple.

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
                f"{place}, which is no text; quote it: 'classes=[\"{json.dumps(name, default=str)}\",...]'"
            )
        if not name.strip() or not name.isprintable():
            raise DatasetError(f"{place}; a name must be a text that can be printed in one line")
        if name in names[:index]:
            raise DatasetError(f"{place}, and so is name {names.index(name)}; every class needs a name of its own")
    return tuple(names)
