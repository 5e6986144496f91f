"""Anybody's data: a folder of images, a folder of masks, and the names of the classes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.data.colours import Colour, ColourTable
from src.data.dataset import DatasetError
from src.data.decode import IMAGE_ENDINGS
from src.data.files import MASK_VALUES, FileDataset
from src.data.palette import voc_palette
from src.labels import MAX_CLASSES, VOID, LabelMap

MASKS = (".png", ".bmp", ".tif", ".tiff", ".gif")  # what keeps values as they are


class Folder(FileDataset):
    """``root/images/NAME.jpg`` with ``root/masks/NAME.png``: class indices, other grey values, or colours.

    Args:
        root: the folder that holds images/ and masks/.
        split: "train", "val", or the name of a list, such as "test" for root/test.txt.
        classes: names, by index.
        palette: RGB in 0..255 for each class; VOC's colours if None. Masks in colours (not palette PNGs, whose indices
            are taken as they are) are read by it.
        values: the masks' grey value for each class, 0..65535; None where it is the index.
        void: the masks' value, or colour, for pixels that do not count; None if there is none.
        val_share: part of the images that is kept for validation, where root has no train.txt and val.txt (lists of
            names without endings, one a line).
        seed: of that split.
        on_error: "raise" or "skip" for bad samples.
        cache: a folder for decoded samples, or None.
    """

    remedy = "void=VALUE leaves a value out; values=[...] says which value each class has"

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
        base = Path(root)
        if not (base / "images").is_dir() or not (base / "masks").is_dir():
            raise DatasetError(f"root={root}: no folders images/ and masks/ there; set root=FOLDER")
        if not classes:
            raise DatasetError("classes=[]: name them by index: 'classes=[background,cat]'")
        if len(classes) > MAX_CLASSES:
            raise DatasetError(f"classes=[...] has {len(classes)} names; a label map holds {MAX_CLASSES} at most")
        check_numbers(len(classes), palette, values, void)
        self.classes = tuple(classes)
        self.palette = voc_palette(len(classes)) if palette is None else np.array(palette, np.uint8)
        self.colours = None if palette is None else ColourTable(palette, None if isinstance(void, int) else void)
        grey = {value: index for index, value in enumerate(values if values is not None else range(len(classes)))}
        if isinstance(void, int) and void != VOID and void in grey:
            raise DatasetError(f"void={void}: is the value of {classes[grey[void]]} too; {self.remedy}")
        nothing = {} if void is None else {VOID: VOID, **({void: VOID} if isinstance(void, int) else {})}

        images, strays = by_stem(base / "images", IMAGE_ENDINGS)
        masks, mask_strays = by_stem(base / "masks", MASKS)
        names = split_names(base, split, sorted(images), val_share, seed)
        pairs = [(name, images[name], masks.get(name, base / "masks" / f"{name}.png")) for name in names]
        orphans = [
            f"{masks[name]}: no image of this name in {base / 'images'}" for name in sorted(masks.keys() - images)
        ]
        super().__init__(pairs, {**nothing, **grey}, on_error, cache, [*strays, *mask_strays, *orphans])

    def classes_of(self, mask: np.ndarray, path: Path) -> LabelMap:
        if mask.ndim != 3 or mask.dtype != np.uint8 or mask.shape[2] < 3:
            return super().classes_of(mask, path)
        if self.colours is None:
            raise DatasetError(
                f"{path}: holds colours; give those of the classes: 'palette=[[0,0,0],[255,0,0]]', and void's: "
                "'void=[255,255,255]', or store class indices"
            )
        return self.colours.classes_of(mask, path)

    def settings(self) -> str:
        colours = self.colours and (self.colours.codes.tolist(), self.colours.classes.tolist())
        return repr((self.values, colours))


def check_numbers(
    classes: int, palette: Sequence[Colour] | None, values: Sequence[int] | None, void: int | Colour | None
) -> None:
    """Raise ``DatasetError`` where one does not fit the classes, or a number is out of range."""
    for name, noun, given in (("palette", "colours", palette), ("values", "values", values)):
        if given is not None and len(given) != classes:
            raise DatasetError(f"{name}={given}: has {len(given)} {noun} for {classes} classes")
    if any(len(colour) != 3 for colour in palette or ()):
        raise DatasetError(f"palette={palette}: must have three numbers for each class: red, green, blue")
    if values is not None and len(set(values)) < classes:
        raise DatasetError(f"values={values}: two classes have one value")
    colours = [("palette", colour) for colour in palette or ()]
    greys = [("values", value) for value in values or ()]
    if isinstance(void, int):
        greys.append(("void", void))
    elif void is not None:
        colours.append(("void", void))
    channels = [(name, channel, 256) for name, colour in colours for channel in colour]
    for name, number, limit in (*channels, *((name, grey, MASK_VALUES) for name, grey in greys)):
        if not isinstance(number, int) or not 0 <= number < limit:
            raise DatasetError(f"{name}={number}: must be a whole number from 0 to {limit - 1}")


def by_stem(folder: Path, endings: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """The files of a folder by their names without ending, and a line for each that cannot be used."""
    files: dict[str, Path] = {}
    strays = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "Thumbs.db":
            continue
        if path.suffix.lower() not in endings:
            strays.append(f"{path}: not used here; endings may be {', '.join(endings)}")
        elif path.stem in files:
            strays.append(f"{path}: there is {files[path.stem].name} too; one name, one file")
        else:
            files[path.stem] = path
    return files, strays


def split_names(root: Path, split: str, names: list[str], val_share: float, seed: int) -> list[str]:
    """The split's names: from its list, or drawn."""
    list_ = root / f"{split}.txt"
    if list_.is_file():
        known = set(names)
        names = [line.strip() for line in list_.read_text(encoding="utf-8").splitlines() if line.strip()]
        names = [name if name in known else Path(name).stem for name in names]
        if unknown := [name for name in names if name not in known]:
            raise DatasetError(f"{list_}: {unknown[0]} is not in {root / 'images'} ({len(unknown)} such names)")
        if len(set(names)) < len(names):
            raise DatasetError(f"{list_}: {next(n for n in names if names.count(n) > 1)} stands there twice")
    elif split not in ("train", "val"):
        raise DatasetError(f"{list_}: missing; without a list a folder has the splits train and val only")
    elif (root / "train.txt").is_file() or (root / "val.txt").is_file():
        raise DatasetError(f"{list_}: missing; give both train.txt and val.txt, or neither")
    else:
        if not 0 < val_share < 1:
            raise DatasetError(f"val_share={val_share}: must lie between 0 and 1")
        random.Random(seed).shuffle(names)
        held_back = max(1, round(len(names) * val_share))
        names = sorted(names[:held_back] if split == "val" else names[held_back:])
    if not names:
        raise DatasetError(f"root={root}: split {split} holds no image")
    return names
