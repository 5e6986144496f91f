"""The user's own data: a folder of images, a folder of masks, and class names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.data.colours import Colour, ColourTable, describe_colours, voc_palette
from src.data.dataset import DatasetError, check_classes
from src.data.decode import Mask
from src.data.file_dataset import MASK_VALUES, FileDataset
from src.data.find_files import IMAGE_ENDINGS, MASK_ENDINGS, describe_files, describe_lack, files_below, pair_files
from src.data.split_lists import Pair, SplitList, draw_split
from src.labels import VOID, LabelMap
from src.system.counted import counted
from src.system.files import expand_path


class Folder(FileDataset):
    """``root/images/NAME.jpg`` with ``root/masks/NAME.png``: class indices, other grey values, or colours.

    Args:
        root: the folder that contains images/ and masks/, which may have subfolders.
        split: "train", "val", or the name of a list, such as "test" for root/test.txt.
        classes: class names by index.
        palette: RGB in 0..255 for each class; None for VOC's colours. All masks are read by colour, even grey and
            palette masks, unless ``values`` is given.
        values: the mask value (grey, or palette index) of each class, 0..65535; None if it is the class index.
        void: the mask value or colour of pixels that do not count; None if there is none.
        val_share: fraction of the images for validation, if root has no train.txt and val.txt (see
            ``src.data.split_lists.SplitList`` for their format).
        seed: seed of that random split.
        on_error: "raise" or "skip" for bad samples.
        cache: folder for decoded samples, or None.
    """

    remedy = "void=VALUE ignores a value; values={values} sets the value of each class"
    remedy_for_255 = "if it is class 1, say so: 'values=[0,255]'"

    def __init__(
        self,
        root: str,
        split: str,
        classes: Sequence[str],
        palette: Sequence[Colour] | None = None,
        values: Sequence[int] | None = None,
        void: int | Colour | None = VOID,
        val_share: float = 0.2,
        seed: int = 0,
        on_error: str = "raise",
        cache: str | None = None,
    ) -> None:
        base = expand_path(root)
        images, masks = base / "images", base / "masks"
        if not images.is_dir() or not masks.is_dir():
            raise DatasetError(describe_lack(root, ["images", "masks"], may_rename=True))
        self.classes = check_classes(classes)
        check_numbers(len(classes), palette, values, void)
        self.palette = voc_palette(len(classes)) if palette is None else np.array(palette, np.uint8)
        self.colours = None if palette is None else ColourTable(palette, void)
        self.by_value = palette is None or values is not None
        grey = {value: index for index, value in enumerate(values if values is not None else range(len(classes)))}
        if isinstance(void, int) and void != VOID and void in grey and self.by_value:
            remedy = self.remedy.format(values="[...]")
            raise DatasetError(f"void={void}: is also the value of {classes[grey[void]]}; {remedy}")
        void_values = {} if void is None else {VOID: VOID, **({void: VOID} if isinstance(void, int) else {})}

        found = pair_files(images, masks)
        pairs, missing, listed_in = found.pairs, list[str](), None
        if os.path.lexists(list_ := base / f"{split}.txt"):
            pairs, missing = SplitList(list_, base, images, masks, pairs).read()
            listed_in = list_
        elif os.path.lexists(base / "train.txt") or os.path.lexists(base / "val.txt"):
            raise DatasetError(f"{list_}: missing; give both train.txt and val.txt, or neither")
        elif not pairs:
            raise DatasetError(f"root={root}: no image in images/; {describe_files(images, IMAGE_ENDINGS)}")
        else:
            pairs = draw_split(f"root={root}", split, pairs, val_share, seed)
        by_name = set(pairs) <= set(found.pairs)  # lists may pair masks with other names
        if by_name and found.pairs and not any(mask.exists() for _, _, mask in found.pairs):
            raise DatasetError(f"root={root}: {describe_lack_of_masks(found.pairs[0], masks)}")
        strays = [*found.strays, *(found.orphans if by_name else ())]
        super().__init__(pairs, {**void_values, **grey}, on_error, cache, strays, missing, listed_in)

    def classes_of(self, mask: Mask, path: Path) -> LabelMap:
        """Return the class of each pixel, by its colour if there is a palette, otherwise by its value."""
        is_coloured = mask.values.ndim == 3
        if self.colours is None and is_coloured:
            raise DatasetError(
                f"{path}: has colours, such as {describe_colours(mask.values)}; set those of the classes: "
                "'palette=[[0,0,0],[255,0,0]]', and void's: 'void=[255,255,255]', or store class indices"
            )
        if self.colours is None or (self.by_value and not is_coloured):
            return super().classes_of(mask, path)
        return self.colours.classes_of(mask, path)

    def settings(self) -> str:
        """Return a string of everything besides the files that affects labels."""
        colours = self.colours and (self.colours.codes.tolist(), self.colours.classes.tolist(), self.colours.void_value)
        return repr((self.values, colours, self.by_value))


def describe_lack_of_masks(pair: Pair, masks: Path) -> str:
    """Return what the mask folder contains instead of masks for the images, and the remedy."""
    _, image, mask = pair
    if other := next((path for path in sorted(files_below(masks)) if path.suffix.lower() in MASK_ENDINGS), None):
        return (
            f"no mask has the name of its image: {image.name} needs {mask.name}, and masks/ holds {other.name}; rename "
            "the masks, or give the pairs in train.txt and val.txt, a line for each: "
            f"{image.relative_to(masks.parent)} {other.relative_to(masks.parent)}"
        )
    return f"no mask in masks/; {describe_files(masks, MASK_ENDINGS)}"


def check_numbers(classes: int, palette: Any, values: Any, void: Any) -> None:
    """Raise ``DatasetError`` if palette, values or void do not fit the classes, or a number is out of range."""
    for name, noun, given in (("palette", "colour", palette), ("values", "value", values)):
        if given is not None and not is_list(given):
            raise DatasetError(f"{name}={given}: must be a list of {noun}s, one for each class")
        if given is not None and len(given) != classes:
            raise DatasetError(
                f"{name}={given}: has {counted(len(given), noun)} for {counted(classes, 'class', 'classes')}"
            )
    if not all(is_list(colour) and len(colour) == 3 for colour in palette or ()):
        raise DatasetError(f"palette={palette}: must have three numbers for each class: red, green, blue")
    numbers = [("palette", channel, 256) for colour in palette or () for channel in colour]
    numbers += [("values", value, MASK_VALUES) for value in values or ()]
    if is_list(void):
        if len(void) != 3:
            raise DatasetError(f"void={void}: must be a value, a colour of three numbers, or null")
        if palette is None:
            raise DatasetError(f"void={void}: is a colour; give the classes' colours too: 'palette=[[0,0,0],...]'")
        numbers += [("void", channel, 256) for channel in void]
    elif void is not None:
        numbers.append(("void", void, MASK_VALUES))
    for name, number, limit in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < limit:
            raise DatasetError(f"{name}={number}: must be a whole number from 0 to {limit - 1}")
    if values is not None and len(set(values)) < classes:
        raise DatasetError(f"values={values}: two classes have the same value")


def is_list(value: Any) -> bool:
    """Tell whether a value is a sequence other than a string."""
    return isinstance(value, Sequence) and not isinstance(value, str)
