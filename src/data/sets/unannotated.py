"""Images whose masks nobody may see, as VOC's test split."""

import numpy as np
from PIL import Image

from src.data import DatasetError, FileDataset, Sample, SegmentationDataset
from src.labels import VOID


class Unannotated(SegmentationDataset):
    """The images of a data set; every pixel is void, so that nothing counts and everything else goes its usual way."""

    def __init__(self, dataset: FileDataset) -> None:
        self.classes, self.palette, self.pairs = dataset.classes, dataset.palette, dataset.pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def check(self, *_: int) -> None:
        if missing := [f"{path}: missing" for _, path, _ in self.pairs if not path.is_file()]:
            raise DatasetError("\n".join(missing[:10]))

    def __getitem__(self, index: int) -> Sample:
        id_, path, _ = self.pairs[index]
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error})") from error
        return Sample(pixels, np.full(pixels.shape[:2], VOID, np.uint8), id_)
