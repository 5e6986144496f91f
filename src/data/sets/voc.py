"""PASCAL VOC 2012 in the layout of its devkit."""

from collections.abc import Mapping
from pathlib import Path

from src.data.dataset import DatasetError
from src.data.files import FileDataset
from src.data.palette import voc_palette

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
        lists: the list in ImageSets/Segmentation that each split is; by default of its own name. Where the folder has
            no lists at all, every split is every image that has a mask.
        masks: "SegmentationClass", or "SegmentationClassAug" for the extra annotations.
        on_error: "raise" or "skip" for bad samples.
        cache: a folder for decoded samples, or None.
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
        base = Path(root)
        hidden = split == "test" and not (base / masks).is_dir()  # VOC publishes no annotation of its test images
        if not ((base / masks).is_dir() or hidden) or not (base / "JPEGImages").is_dir():
            raise DatasetError(
                f"root={root}: no folders JPEGImages/ and {masks}/ there; set root=FOLDER, that of VOCdevkit/VOC2012"
            )
        ids = self.ids(base, (lists or {}).get(split, split), base / ("JPEGImages" if hidden else masks))
        pairs = [(i, base / "JPEGImages" / f"{i}.jpg", base / masks / f"{i}.png") for i in ids]
        super().__init__(pairs, on_error=on_error, cache=cache)

    @staticmethod
    def ids(root: Path, split: str, folder: Path) -> list[str]:
        """Names of the split's images, in the list's order."""
        lists = root / "ImageSets" / "Segmentation"
        if not lists.is_dir():
            ids = sorted(path.stem for path in folder.iterdir() if path.suffix in (".png", ".jpg"))
        elif (lists / f"{split}.txt").is_file():
            ids = (lists / f"{split}.txt").read_text().split()
        else:
            there = sorted(path.stem for path in lists.glob("*.txt"))
            raise DatasetError(f"{lists / split}.txt: missing; lists there: {', '.join(there) or 'none'}")
        if not ids:
            raise DatasetError(f"{root}: split {split} holds no image")
        return ids
