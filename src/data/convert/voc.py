"""Masks in the layout of PASCAL VOC (Everingham et al., IJCV 2010), which CVAT and labelme2voc also write.

``SegmentationClass/NAME.png`` belongs to ``JPEGImages/NAME.jpg``; ``ImageSets/Segmentation/`` contains the lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from src.data.colours import Colour, voc_palette
from src.data.convert.class_lists import LABELMAP, ClassList, read_labelmap, read_names
from src.data.convert.masks import ColourMasks, ValueMasks, index_names, palette_of
from src.data.convert.records import Labels, MaskReader, Record, check_unlabelled
from src.data.convert.source import Source, merge_records, read_text
from src.data.dataset import DatasetError
from src.data.decode import Mask
from src.data.find_files import MASK_ENDINGS, files_by_name, normalised
from src.data.sets.voc import VOC12
from src.labels import VOID, LabelMap

MASK_FOLDERS = ("SegmentationClassPNG", "SegmentationClass")
CLASS_NAMES = "class_names.txt"  # written by labelme2voc
VOID_COLOUR = (224, 224, 192)  # in VOC's palette


class VOCMasks:
    """Reads masks of class indices, or of their colours in VOC's palette; 255 is void.

    Args:
        classes: the class, or ``VOID``, of each index.
    """

    def __init__(self, classes: list[int]) -> None:
        self.values = ValueMasks({**dict(enumerate(classes)), VOID: VOID})
        colours = [(int(red), int(green), int(blue)) for red, green, blue in voc_palette(len(classes))]
        self.colours = ColourMasks({VOID_COLOUR: VOID, **dict(zip(colours, classes, strict=True))})

    def classes_of(self, mask: Mask, path: Path) -> LabelMap:
        """Return the class of each pixel."""
        return (self.colours if mask.values.ndim == 3 else self.values).classes_of(mask, path)


def find(source: Source) -> str | None:
    """Return labelmap.txt or the folder of masks; None if there is none."""
    bases = find_bases(source)
    if not bases:
        return None
    labelmap = bases[0] / LABELMAP
    return source.relative(labelmap if labelmap.is_file() else mask_folder(bases[0]))


def find_bases(source: Source) -> list[Path]:
    """Return the folders that contain SegmentationClass/."""
    if source.only is not None:
        return []
    return sorted(
        {
            path.parents[i + 1]
            for path in source.files
            for i, parent in enumerate(path.parents[:-1])
            if parent.name in MASK_FOLDERS and parent.is_relative_to(source.root) and parent != source.root
        }
    )


def mask_folder(base: Path) -> Path:
    """Return the folder of masks in a folder with VOC's layout."""
    return next(base / name for name in MASK_FOLDERS if (base / name).is_dir())


def read(source: Source, unlabelled: str | None) -> Labels:
    """Return the labels of all listed masks, or of all masks if there are no lists.

    Raises:
        DatasetError: if there are several such folders, or the class list is invalid.
    """
    base, *others = find_bases(source)
    if others:
        raise DatasetError(f"{base} and {others[0]} both contain masks; choose one of them: from=FOLDER")
    masks, _ = files_by_name(mask_folder(base), MASK_ENDINGS)
    choice = check_unlabelled(unlabelled, "background")
    classes, palette, reader, has_labelmap = read_classes(base, choice)
    labels = Labels(classes, [], VOID if choice == "void" else 0, palette=palette, masks=reader)
    without = [base / name for name in ("SegmentationClass", "SegmentationObject", *MASK_FOLDERS)]
    records = []
    unmasked = 0
    for name, split in listed_names(base) or [(name, source.split_of(path)) for name, path in masks.items()]:
        mask = masks.get(normalised(name))
        if mask is None and split == "test":
            unmasked += 1
            continue
        try:
            if mask is None and not has_labelmap:
                raise DatasetError("its mask is missing")
            records.append(Record(source.find_image(name, base / "JPEGImages", without), split, name, mask=mask))
        except DatasetError as error:
            labels.faults.append(f"{source.relative(mask) if mask else name}: {error}")
    if unmasked:
        labels.notes.append(f"{unmasked:,} test images have no mask: skipped")
    merge_records(records, labels)
    return labels


def read_classes(base: Path, unlabelled: str) -> tuple[list[str], list[Colour] | None, MaskReader, bool]:
    """Return the classes, their colours, a mask reader, and whether they come from CVAT's labelmap.txt."""
    if (labelmap := base / LABELMAP).is_file():
        listed: ClassList = read_labelmap(labelmap)
        classes, indices = index_names(listed.names, unlabelled)
        reader = ColourMasks(dict(zip(listed.colours, indices, strict=True)))
        return classes, palette_of(classes, listed.names, listed.colours), reader, True
    if (list_ := base / CLASS_NAMES).is_file():
        names = [name for name in read_names(list_).names if name != "__ignore__"]
    else:
        names = list(VOC12.classes)
    classes, indices = index_names(names, unlabelled)
    return classes, None, VOCMasks(indices), False


def listed_names(base: Path) -> list[tuple[str, str]]:
    """Return (name, split) from the lists in ImageSets/Segmentation; trainval is used only if there is no other."""
    lists = {path.stem.lower(): path for path in sorted((base / "ImageSets" / "Segmentation").glob("*.txt"))}
    if {"train", "val"} & lists.keys():
        lists.pop("trainval", None)
    return [
        (name, stem if stem in ("train", "val", "test") else "") for stem, path in lists.items() for name in lines(path)
    ]


def lines(path: Path) -> Iterator[str]:
    """Yield the non-blank lines of a list, without quotes."""
    yield from (line.strip().strip('"') for line in read_text(path).splitlines() if line.strip())
