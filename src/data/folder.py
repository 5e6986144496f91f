"""Anybody's data: a folder of images, a folder of masks, and the names of the classes."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.data.dataset import VOID, DatasetError, FileDataset
from src.data.voc import voc_palette

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class Folder(FileDataset):
    """``root/images/NAME.jpg`` with ``root/masks/NAME.png``, whose pixels are class indices (grey or palette PNG).

    Args:
        root: the folder that holds images/ and masks/.
        split: "train" or "val".
        classes: names, by index.
        palette: RGB in 0..255 for each class; VOC's colours if None.
        void: the mask's value for pixels that do not count.
        val_share: part of the images that is kept for validation, where root has no train.txt and val.txt (lists of
            names without endings, one a line).
        seed: of that split.
    """

    def __init__(
        self,
        root: str,
        split: str,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        void: int = VOID,
        val_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        base = Path(root)
        if not (base / "images").is_dir() or not (base / "masks").is_dir():
            raise DatasetError(f"dataset.root={root}: no folders images/ and masks/ there; set dataset.root=FOLDER")
        if not classes:
            raise DatasetError("dataset.classes is empty; name them by index: 'dataset.classes=[background,cat]'")
        if palette is not None and len(palette) != len(classes):
            raise DatasetError(f"dataset.palette has {len(palette)} colours for {len(classes)} classes")
        self.classes = tuple(classes)
        self.palette = voc_palette(len(classes)) if palette is None else np.array(palette, np.uint8)
        images = {path.stem: path for path in sorted((base / "images").iterdir()) if path.suffix.lower() in IMAGES}
        names = self.names(base, split, sorted(images), val_share, seed)
        if unknown := [name for name in names if name not in images]:
            raise DatasetError(f"{base / split}.txt: {unknown[0]} is not in {base / 'images'}")
        super().__init__([(name, images[name], base / "masks" / f"{name}.png") for name in names], void)

    @staticmethod
    def names(root: Path, split: str, names: list[str], val_share: float, seed: int) -> list[str]:
        """The split's names: from its list, or drawn."""
        if (root / f"{split}.txt").is_file():
            names = (root / f"{split}.txt").read_text().split()
        elif (root / "train.txt").is_file() or (root / "val.txt").is_file():
            raise DatasetError(f"{root / split}.txt: missing; give both train.txt and val.txt, or neither")
        else:
            if not 0 < val_share < 1:
                raise DatasetError(f"dataset.val_share={val_share} must lie between 0 and 1")
            random.Random(seed).shuffle(names)
            held_back = max(1, round(len(names) * val_share))
            names = sorted(names[:held_back] if split == "val" else names[held_back:])
        if not names:
            raise DatasetError(f"dataset.root={root}: split {split} holds no image")
        return names
