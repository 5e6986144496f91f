"""Merge SBD (Hariharan et al. 2011), which annotates more VOC images, into the devkit: the paper's 10,582 images."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from src.data.colours import voc_palette
from src.data.dataset import DatasetError
from src.data.parallel import over_cores
from src.data.release.release import Archive, gaps
from src.system.files import replacing, write_text
from src.system.processes import cores

LISTS = Path("ImageSets/Segmentation")
MASKS = Path("SegmentationClassAug")


class MergeSBD:
    """A part of a release: creates SegmentationClassAug/ and the list train_aug in a devkit from SBD's files in SBD/.

    The list contains SBD's train and val and VOC's train, without VOC's val. VOC's masks take precedence over SBD's,
    because VOC marks the edges of objects as void.

    Args:
        archive: the archive of SBD.
        counts: number of created files by pattern; see ``release.gaps``.
    """

    def __init__(self, archive: Archive, counts: Mapping[str, int]) -> None:
        self.archive = archive
        self.counts = counts

    def prepare(self, root: Path, downloads: Path) -> None:
        """Fetch SBD if necessary, and merge it."""
        if gaps(root, self.archive.counts):
            self.archive.prepare(root, downloads)
        self.merge(root)

    def merge(self, root: Path) -> None:
        """Convert the masks, then write the list, whose existence shows that all masks are complete.

        Raises:
            DatasetError: with every .mat file that cannot be read.
        """
        lists = {name: names_of(root / name) for name in ("SBD/train.txt", "SBD/val.txt")}
        train, val = names_of(root / LISTS / "train.txt"), names_of(root / LISTS / "val.txt")
        augmented = sorted({*lists["SBD/train.txt"], *lists["SBD/val.txt"], *train} - {*val})
        names = sorted({*augmented, *val})
        (root / MASKS).mkdir(exist_ok=True)
        faults = [fault for fault in over_cores(Mask(root, names), len(names), "converting SBD", cores()) if fault]
        if faults:
            raise DatasetError("\n".join(faults))
        write_text(root / LISTS / "train_aug.txt", "".join(f"{name}\n" for name in augmented))


class Mask:
    """A function that writes the mask at an index, if it does not exist, and returns its fault or None."""

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root = root
        self.names = names

    def __call__(self, index: int) -> str | None:
        name = self.names[index]
        voc_mask, target = self.root / "SegmentationClass" / f"{name}.png", self.root / MASKS / f"{name}.png"
        if target.is_file():
            return None
        if voc_mask.is_file():
            with replacing(target) as part:
                shutil.copyfile(voc_mask, part)
            return None
        source = self.root / "SBD" / "cls" / f"{name}.mat"
        try:
            labels = read_mat(source)
        except Exception as error:  # scipy raises all kinds of errors on broken files
            return f"{source}: cannot be read ({' '.join(str(error).split()) or type(error).__name__})"
        image = Image.fromarray(labels)
        image.putpalette(voc_palette(256).tobytes())
        with replacing(target) as part:
            image.save(part, format="PNG")
        return None


def read_mat(path: Path) -> np.ndarray:
    """Return the class of each pixel, uint8, from GTcls.Segmentation in SBD's cls/*.mat.

    Raises:
        ValueError: if it has another shape or type.
    """
    from scipy.io import loadmat

    labels = loadmat(path)["GTcls"]["Segmentation"][0, 0]
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f"GTcls.Segmentation is {labels.dtype} of shape {labels.shape}")
    return labels


def names_of(path: Path) -> list[str]:
    """Return the names in a list file.

    Raises:
        DatasetError: if the file does not exist.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: missing")
    return path.read_text().split()
