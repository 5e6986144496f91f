"""What a sample is, and what every dataset gives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import Dataset

from src.errors import UserError
from src.labels import LabelMap

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
