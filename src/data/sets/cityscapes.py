"""Cityscapes (Cordts et al. 2016): streets of 50 cities, fine annotations, the 19 classes of its benchmark."""

import numpy as np

from src.data.dataset import DatasetError
from src.data.file_dataset import FileDataset
from src.data.find_files import describe_lack, files_below
from src.labels import VOID
from src.system.files import expand_path

# Name: (id in *_labelIds.png, colour), in the order of train ids; from cityscapesscripts/helpers/labels.py.
CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
LABEL_IDS = 34  # 0..33; ids not listed above are void, as is the licence plate's -1, stored as 255
IMAGE, MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"


class Cityscapes(FileDataset):
    """``root/leftImg8bit/SPLIT/CITY/*`` and ``root/gtFine/SPLIT/CITY/*_labelIds.png``, read as train ids.

    Args:
        root: the folder that holds leftImg8bit and gtFine.
        split: "train" or "val" (the masks of "test" are not public and entirely void).
        on_error: "raise" or "skip" for bad samples.
        cache: folder for decoded samples, or None.
    """

    classes = tuple(CLASSES)
    palette = np.array([colour for _, colour in CLASSES.values()], np.uint8)

    def __init__(self, root: str, split: str, on_error: str = "raise", cache: str | None = None) -> None:
        base = expand_path(root)
        images, masks = base / "leftImg8bit" / split, base / "gtFine" / split
        if not images.is_dir() or not masks.is_dir():
            raise DatasetError(describe_lack(root, [f"leftImg8bit/{split}", f"gtFine/{split}"]))
        pairs = []
        for path in sorted(path for path in files_below(images) if path.name.endswith(IMAGE)):
            name = path.name.removesuffix(IMAGE)
            pairs.append((name, path, masks / path.parent.name / f"{name}{MASK}"))
        if not pairs:
            raise DatasetError(f"{images}: contains no CITY/*{IMAGE}")
        self.may_be_void = split == "test"
        ids = {label_id: index for index, (label_id, _) in enumerate(CLASSES.values())}
        super().__init__(pairs, dict.fromkeys((*range(LABEL_IDS), VOID), VOID) | ids, on_error, cache)
