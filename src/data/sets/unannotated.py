"""Images whose masks are not public, such as VOC's test split."""

import numpy as np

from src.data.dataset import DatasetError, Sample, SegmentationDataset
from src.data.decode import read_image, why_unreadable
from src.data.file_dataset import FileDataset
from src.data.survey import first_of
from src.labels import VOID


class Unannotated(SegmentationDataset):
    """The images of a data set, with label maps that are entirely void and so do not count in any metric.

    Args:
        dataset: the data set, whose masks need not exist.
    """

    may_be_void = True

    def __init__(self, dataset: FileDataset) -> None:
        self.classes, self.palette, self.pairs = dataset.classes, dataset.palette, dataset.pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def check(self, *_: int) -> None:
        """Check that every image exists.

        Raises:
            DatasetError: with the first missing images.
        """
        if faults := [f"{path}: {why}" for _, path, _ in self.pairs if (why := why_unreadable(path))]:
            raise DatasetError(first_of(faults))

    def __getitem__(self, index: int) -> Sample:
        id_, path, _ = self.pairs[index]
        image = read_image(path)
        return Sample(image, np.full(image.shape[:2], VOID, np.uint8), id_)
