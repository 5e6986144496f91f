"""What a sample is, and what every dataset gives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch.utils.data import Dataset

from src.errors import UserError

VOID = 255


class DatasetError(UserError):
    """A fault in the data; the message names the file and the remedy."""


class Sample(NamedTuple):
    """One image with its annotation, as stored: the network normalises, the CRF wants raw colours."""

    image: UInt8[np.ndarray, "height width 3"]  # RGB
    label: UInt8[np.ndarray, "height width"]  # class index, or VOID
    id: str


class SegmentationDataset(Dataset[Sample], ABC):
    """Samples by index, the names of the classes and the colours to draw them in."""

    classes: Sequence[str]
    palette: UInt8[np.ndarray, "classes 3"]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    def check(self) -> None:
        """Find faults before any time is spent on training.

        Raises:
            DatasetError: naming every faulty file that was looked at.
        """


class FileDataset(SegmentationDataset):
    """Pairs of an image file and a mask file whose pixels are class indices (grey or palette PNG).

    Args:
        pairs: (id, image, mask) of every sample.
        void: the mask's value for pixels that do not count.
    """

    def __init__(self, pairs: Sequence[tuple[str, Path, Path]], void: int = VOID) -> None:
        self.pairs = pairs
        self.void = void

    def __len__(self) -> int:
        return len(self.pairs)

    def check(self) -> None:
        """Every file must exist; 64 pairs spread over the set are opened too (the rest is checked when loaded)."""
        faults = [f"{path}: missing" for _, *files in self.pairs for path in files if not path.is_file()]
        if not faults:
            for index in np.unique(np.linspace(0, len(self) - 1, 64).round().astype(int)):
                try:
                    self[index]
                except DatasetError as error:
                    faults.append(str(error))
        if faults:
            more = f"\n... and {len(faults) - 10} more" if len(faults) > 10 else ""
            raise DatasetError("\n".join(faults[:10]) + more)

    def __getitem__(self, index: int) -> Sample:
        id_, image_path, mask_path = self.pairs[index]
        image = read(image_path, "RGB")
        label = self.read_label(mask_path)
        if image.shape[:2] != label.shape:
            raise DatasetError(
                f"{mask_path}: the mask is {label.shape[1]}x{label.shape[0]}, its image {image_path} is "
                f"{image.shape[1]}x{image.shape[0]}; both must have one size"
            )
        return Sample(image, label, id_)

    def read_label(self, path: Path) -> UInt8[np.ndarray, "height width"]:
        """Class indices, with ``VOID`` for the dataset's own void value."""
        label = read(path, None)
        if label.ndim != 2 or label.dtype != np.uint8:
            raise DatasetError(f"{path}: a mask must hold one 8-bit class index a pixel; this one holds colours")
        if self.void != VOID:
            label = np.where(label == self.void, np.uint8(VOID), label)
        present = np.flatnonzero(np.bincount(label.ravel(), minlength=VOID)[:VOID])
        if (wrong := present[present >= len(self.classes)]).size:
            raise DatasetError(
                f"{path}: labels {wrong.tolist()} are neither a class (0..{len(self.classes) - 1}) nor void "
                f"({self.void}); convert the mask to class indices"
            )
        return label


def read(path: Path, mode: str | None) -> np.ndarray:
    """Pixels of an image file, converted to a PIL mode where one is named.

    Raises:
        DatasetError: if the file is missing or cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error
