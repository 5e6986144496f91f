"""PASCAL VOC 2012 in the layout of its devkit."""

import logging
from collections.abc import Mapping

from src.data.colours import voc_palette
from src.data.dataset import DatasetError
from src.data.file_dataset import FileDataset
from src.data.find_files import describe_lack, is_junk, pair_files
from src.data.split_lists import SplitList, draw_split
from src.system.counted import counted
from src.system.files import expand_path

log = logging.getLogger(__name__)

# fmt: off
CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on


class VOC12(FileDataset):
    """VOC 2012 segmentation: 1,464 training and 1,449 validation images; 10,582 for training with SBD's annotations.

    Args:
        root: the folder that holds JPEGImages and SegmentationClass (VOCdevkit/VOC2012).
        split: "train", "val" or "test".
        lists: the name of each split's list in ImageSets/Segmentation; by default the split's name. If the folder has
            no lists, "val" is a random fifth of the images with a mask, and "train" is the rest.
        masks: "SegmentationClass", or "SegmentationClassAug" for the extra annotations.
        on_error: "raise" or "skip" for bad samples.
        cache: folder for decoded samples, or None.
    """

    classes = CLASSES
    palette = voc_palette(len(CLASSES))

    def __init__(
        self,
        root: str,
        split: str,
        masks: str = "SegmentationClass",
        lists: Mapping[str, str] | None = None,
        on_error: str = "raise",
        cache: str | None = None,
    ) -> None:
        base = expand_path(root)
        images, mask_folder = base / "JPEGImages", base / masks
        unannotated = split == "test" and not mask_folder.is_dir()  # VOC's test annotation is not public
        if not (mask_folder.is_dir() or unannotated) or not images.is_dir():
            raise DatasetError(describe_lack(root, ["JPEGImages", masks], "VOCdevkit/VOC2012"))
        pairs = pair_files(images, mask_folder).pairs
        folder, name = base / "ImageSets" / "Segmentation", (lists or {}).get(split, split)
        missing, listed_in = list[str](), None
        if (list_ := folder / f"{name}.txt").is_file():
            pairs, missing = SplitList(list_, base, images, mask_folder, pairs).read()
            listed_in = list_
        elif found := sorted(path.stem for path in folder.glob("*.txt") if not is_junk(path.name)):
            raise DatasetError(f"{folder / name}.txt: missing; existing lists: {', '.join(found)}")
        elif not unannotated:
            pairs = draw_split(f"root={root}", split, [pair for pair in pairs if pair[2].is_file()])
            chosen = counted(len(pairs), "image")
            log.warning("%s: no lists; %s has %s, chosen at random with a fixed seed", folder, split, chosen)
        if not pairs and not missing:
            raise DatasetError(f"root={root}: JPEGImages/ has no image with a mask in {masks}/")
        super().__init__(pairs, on_error=on_error, cache=cache, missing=missing, listed_in=listed_in)
