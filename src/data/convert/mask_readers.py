"""Images with mask files: in parallel folders, or next to each other with a suffix, such as x.jpg and x_mask.png.

Masks contain class indices, other grey values, or colours; all masks are opened to find out which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np
from PIL import ImageColor

from src.data.colours import codes_of
from src.data.convert.class_lists import ClassList, find_class_list
from src.data.convert.masks import RGB, ColourMasks, ValueMasks, index_names, palette_of
from src.data.convert.records import BACKGROUND, Labels, MaskReader, Record, check_unlabelled
from src.data.convert.source import Source, merge_records
from src.data.dataset import DatasetError
from src.data.decode import read_mask
from src.data.find_files import MASK_ENDINGS, files_below, is_image, normalised
from src.data.parallel import over_cores
from src.labels import MAX_CLASSES, VOID
from src.system.counted import counted
from src.system.processes import cores

ROLE = re.compile(
    r"masks?|labels?|annot(ation)?s?|ground[_ -]?truths?|gts?|segm?(entation)?s?(class)?|targets?"
    r"|(jpeg)?images?|imgs?|photos?|pictures?|inputs?|png|jpe?g"
)
SUFFIX = re.compile(
    r"[_. -](mask|label|lbl|seg|gt|annot|ground.?truth|target)[a-z]*([_. -]\d+)?$|_[LP]$", re.IGNORECASE
)
PREFIX = re.compile(r"^(mask|label|gt|seg)s?[_. -]+", re.IGNORECASE)
VOC_VOID = (224, 224, 192)
MAX_VALUES = 65536  # number of values or colours to collect from a mask


def find(source: Source) -> str | None:
    """Return a line about a mask that belongs to an image; None if there is none."""
    if source.only is not None:
        return None
    pairs, _ = pair_masks(source)
    return next((f"{source.relative(mask)} belongs to {source.relative(image)}" for image, mask in pairs), None)


def pair_masks(source: Source) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return all (image, mask) pairs, and a line for each file without a partner, or with two."""
    if source.images is not None:
        images = [path for path in sorted(files_below(source.images)) if is_image(path.name)]
        masks = [path for path in source.files if path.suffix.lower() in MASK_ENDINGS]
    else:
        files = [path for path in source.files if is_image(path.name)]
        stems = {path.with_suffix("") for path in files}
        masks = [path for path in files if is_mask(path, source, stems)]
        images = sorted(set(files) - set(masks))
    image_base = source.images or source.root
    by_key: dict[tuple[str, ...], Path] = {key_of(path, image_base): path for path in images}
    partners: dict[Path, list[Path]] = {}
    faults = []
    for mask in masks:
        *folders, stem = key_of(mask, source.root)
        names = [stem, SUFFIX.sub("", stem), PREFIX.sub("", stem)]
        image = next((by_key[key] for name in names if (key := (*folders, name)) in by_key), None)
        if image is None:
            faults.append(f"{source.relative(mask)}: no image belongs to this mask")
        else:
            partners.setdefault(image, []).append(mask)
    for image in images:
        if len(found := partners.get(image, [])) != 1:
            both = " and ".join(source.relative(mask) for mask in found[:2])
            faults.append(f"{source.relative(image)}: {f'has the masks {both}' if found else 'no mask belongs to it'}")
    return [(image, found[0]) for image, found in partners.items() if len(found) == 1], faults


def is_mask(path: Path, source: Source, stems: Set[Path]) -> bool:
    """Tell whether a file is a mask: by its folder, or because its name is an image's name with a suffix or prefix.

    Args:
        path: the file.
        source: the source of the file.
        stems: the paths of all images and masks without endings.
    """
    if path.suffix.lower() not in MASK_ENDINGS:
        return False
    if source.is_in_mask_folder(path):
        return True
    return any(
        short != path.stem and path.with_name(short) in stems
        for short in (SUFFIX.sub("", path.stem), PREFIX.sub("", path.stem))
    )


def key_of(path: Path, base: Path) -> tuple[str, ...]:
    """Return what an image and its mask share: folders without words such as "masks", and the name."""
    folders = (ROLE.sub("", part.lower()).strip("_-. ") for part in path.parent.relative_to(base).parts)
    return (*filter(None, folders), normalised(path.stem))


def read(source: Source, unlabelled: str | None) -> Labels:
    """Return the labels of all pairs.

    Raises:
        DatasetError: if the masks have too many values or colours, or the class list does not match them.
    """
    pairs, faults = pair_masks(source)
    choice = check_unlabelled(unlabelled, "background")
    paths = [mask for _, mask in pairs]
    contents = list(over_cores(MaskContents(paths), len(paths), "reading the masks", cores()))
    values = set[int]().union(*(found for found in contents if isinstance(found, set)))
    colours = set[RGB]().union(*(found for found in contents if isinstance(found, frozenset)))
    listed = find_class_list(source)
    if colours or (listed and listed.colours):
        names, known = name_colours(colours | {(v, v, v) for v in values if v < 256} if colours else set(), listed)
        classes, indices = index_names(names, choice)
        reader: MaskReader = ColourMasks(dict(zip(known, indices, strict=True)))
        palette = palette_of(classes, names, known)
    else:
        names, numbers = name_values(values, listed)
        classes, indices = index_names(names, choice)
        reader, palette = ValueMasks({VOID: VOID, **dict(zip(numbers, indices, strict=True))}), None
    labels = Labels(classes, [], faults=faults, palette=palette, masks=reader)
    if listed:
        labels.notes.append(
            f"{source.relative(listed.path)}: names of {counted(len(listed.names), 'class', 'classes')}"
        )
    records = [
        Record(image, source.split_of(image) or source.split_of(mask), source.relative(mask), mask=mask)
        for image, mask in pairs
    ]
    merge_records(records, labels)
    return labels


class MaskContents:
    """A function that returns the content of the mask at an index: a set of values, or a frozenset of colours."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __call__(self, index: int) -> set[int] | frozenset[RGB]:
        try:
            values, _ = read_mask(self.paths[index])
        except DatasetError:
            return set()  # the conversion reports the fault
        if values.ndim == 2:
            return set(np.unique(values)[:MAX_VALUES].tolist())
        codes = np.unique(codes_of(values))[:MAX_VALUES].tolist()
        return frozenset((code >> 16, code >> 8 & 255, code & 255) for code in codes)


def name_values(values: set[int], listed: ClassList | None) -> tuple[list[str], list[int]]:
    """Return a name for each value that is a class, and these values; 255 is void if there are at least two others.

    Raises:
        DatasetError: if there are too many values, or they do not match the list.
    """
    present = sorted(values - {VOID} if len(values) > 2 or listed else values)
    if listed is not None:
        count = len(listed.names)
        if not present or present[-1] < count:
            return listed.names, list(range(count))
        if len(present) == count:
            return listed.names, present
        raise DatasetError(f"{listed.path}: {counted(count, 'name')}, but the masks have the values {present[:20]}")
    if len(present) > MAX_CLASSES:
        raise DatasetError(f"the masks have {len(present):,} values; they may have been smoothed or saved as JPEG")
    if len(present) == 2 and present[0] == 0:
        return [BACKGROUND, "object"], present
    return [BACKGROUND if value == 0 else f"class_{value}" for value in present], present


def name_colours(colours: set[RGB], listed: ClassList | None) -> tuple[list[str], list[RGB]]:
    """Return a name for each colour, and the colours. Names come from the list, otherwise from CSS, or are #rrggbb.

    Raises:
        DatasetError: if there are too many colours.
    """
    if listed is not None and listed.colours:
        return listed.names, listed.colours
    if len(colours) > MAX_CLASSES:
        raise DatasetError(
            f"the masks have {len(colours):,} colours; they may have been smoothed or saved as JPEG. Otherwise list "
            "the classes in class_dict.csv, with lines name,r,g,b"
        )
    css = {ImageColor.getrgb(value): name for name, value in ImageColor.colormap.items()}
    special = {(0, 0, 0): BACKGROUND, VOC_VOID: "void"}
    known = sorted(colours)
    return [special.get(c) or css.get(c) or "#{:02x}{:02x}{:02x}".format(*c) for c in known], known
