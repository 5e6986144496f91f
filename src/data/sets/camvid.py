"""CamVid (Brostow, Fauqueur, Cipolla 2009) in the 11 classes and 480x360 pixels of SegNet's release."""

import numpy as np

from src.data.dataset import DatasetError
from src.data.file_dataset import FileDataset
from src.data.find_files import IMAGE_ENDINGS, describe_files, describe_lack, pair_files
from src.labels import VOID
from src.system.files import expand_path

CLASSES = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


class CamVid(FileDataset):
    """Frames of a drive through Cambridge: ``root/SPLIT/*`` and ``root/SPLITannot/*``, void 11.

    Args:
        root: the folder that holds train, trainannot, val and valannot.
        split: "train", "val" or "test".
        on_error: "raise" or "skip" for bad samples.
        cache: folder for decoded samples, or None.
    """

    classes = tuple(CLASSES)
    palette = np.array(list(CLASSES.values()), np.uint8)

    def __init__(self, root: str, split: str, on_error: str = "raise", cache: str | None = None) -> None:
        base = expand_path(root)
        images, masks = base / split, base / f"{split}annot"
        if not images.is_dir() or not masks.is_dir():
            raise DatasetError(describe_lack(root, [images.name, masks.name]))
        pairs = pair_files(images, masks).pairs
        if not pairs:
            raise DatasetError(f"root={root}: no image in {split}/; {describe_files(images, IMAGE_ENDINGS)}")
        values = {index: index for index in range(len(CLASSES))} | {len(CLASSES): VOID, VOID: VOID}
        super().__init__(pairs, values, on_error, cache)
