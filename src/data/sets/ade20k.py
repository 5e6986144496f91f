"""ADE20K in the 150 classes of its scene parsing challenge (Zhou et al. 2017)."""

from pathlib import Path

from src.data.colours import voc_palette
from src.data.dataset import DatasetError
from src.data.file_dataset import FileDataset
from src.data.find_files import IMAGE_ENDINGS, describe_files, describe_lack, pair_files
from src.data.split_lists import numbered_lines
from src.labels import VOID
from src.system.counted import counted
from src.system.files import expand_path

FOLDERS = {"train": "training", "val": "validation"}
CLASSES = 150


class ADE20K(FileDataset):
    """``root/images/training/*.jpg`` and ``root/annotations/training/*.png``: 1..150 are classes, 0 is void.

    Args:
        root: the folder of the release, ADEChallengeData2016; its objectInfo150.txt has the names of the classes.
        split: "train" or "val".
        on_error: "raise" or "skip" for bad samples.
        cache: folder for decoded samples, or None.
    """

    palette = voc_palette(CLASSES)

    def __init__(self, root: str, split: str, on_error: str = "raise", cache: str | None = None) -> None:
        if split not in FOLDERS:
            raise DatasetError(f"split={split}: must be one of {', '.join(FOLDERS)}")
        base = expand_path(root)
        images, masks = base / "images" / FOLDERS[split], base / "annotations" / FOLDERS[split]
        if not images.is_dir() or not masks.is_dir():
            raise DatasetError(
                describe_lack(
                    root, [f"images/{FOLDERS[split]}", f"annotations/{FOLDERS[split]}"], "ADEChallengeData2016"
                )
            )
        self.classes = class_names(base / "objectInfo150.txt")
        pairs = pair_files(images, masks).pairs
        if not pairs:
            holds = describe_files(images, IMAGE_ENDINGS)
            raise DatasetError(f"root={root}: no image in images/{FOLDERS[split]}/; {holds}")
        super().__init__(pairs, {0: VOID} | {index + 1: index for index in range(CLASSES)}, on_error, cache)


def class_names(path: Path) -> tuple[str, ...]:
    """Return the first name of each class, or all its names if another class has the same first name.

    Raises:
        DatasetError: if the file is not the release's table of 150 lines (Idx, Ratio, Train, Val, Stuff, Name).
    """
    if not path.is_file():
        raise DatasetError(f"{path}: missing; it is part of the release")
    lines = [line for _, line in numbered_lines(path)][1:]
    names = [" ".join(line.split("\t")[-1].split()) for line in lines]
    if len(names) != CLASSES:
        raise DatasetError(f"{path}: names {counted(len(names), 'class', 'classes')}, not {CLASSES}")
    first = [name.replace(";", ",").split(",")[0] for name in names]
    return tuple(
        short if first.count(short) == 1 else long.replace(", ", "/") for short, long in zip(first, names, strict=True)
    )
