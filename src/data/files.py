"""Datasets whose samples are pairs of files: read, checked, and left out where they are bad and it is wished."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from src.data.cache.cache import PackedCache, open_cache
from src.data.dataset import DatasetError, Sample, SegmentationDataset
from src.data.decode import read_image, read_mask, why_unreadable
from src.data.survey import first_of, ranges, survey
from src.labels import VOID, LabelMap

log = logging.getLogger(__name__)

MASK_VALUES = 1 << 16  # that a mask may hold: 0..65535
PROBES = 64  # samples that the quick check opens


class FileDataset(SegmentationDataset):
    """Pairs of an image file and a mask file of the same size.

    Args:
        pairs: (id, image, mask) of every sample.
        values: the class of every value that a mask may hold, ``VOID`` for those that do not count; None where masks
            hold the class itself, and 255 where nothing counts. Masks hold 0..65535.
        on_error: "raise", or "skip" to leave bad samples out: all are opened for that before the training starts.
        cache: a folder for decoded samples, or None.
        strays: faults of the folders that belong to no pair.
    """

    remedy = "convert the mask to class indices"

    def __init__(
        self,
        pairs: Sequence[tuple[str, Path, Path]],
        values: Mapping[int, int] | None = None,
        on_error: str = "raise",
        cache: str | None = None,
        strays: Sequence[str] = (),
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise DatasetError(f"on_error={on_error}: must be raise or skip")
        self.pairs = list(pairs)
        self.on_error, self.strays = on_error, strays
        self.values = dict(values or {index: index for index in (*range(len(self.classes)), VOID)})
        self.lookup = np.zeros(max(self.values) + 1, np.uint8)
        self.lookup[list(self.values)] = list(self.values.values())
        self.cache_folder = Path(cache) if cache else None
        self.cache: PackedCache | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        if self.cache is not None and (stored := self.cache.get(index)) is not None:
            return Sample(*stored, self.pairs[index][0])
        sample, faults = self.inspect(index)
        if sample is None:
            raise DatasetError("\n".join(faults))
        return sample

    def inspect(self, index: int) -> tuple[Sample | None, list[str]]:
        id_, image_path, mask_path = self.pairs[index]
        faults: list[str] = []
        image, label = attempt(read_image, image_path, faults), attempt(self.read_label, mask_path, faults)
        if image is None or label is None:
            return None, faults
        if image.shape[:2] == label.shape:
            return Sample(image, label, id_), []
        turned = (
            "; the mask fits where the image is not turned upright by its EXIF orientation: save the image without one"
            if image.shape[:2] == label.shape[::-1]
            else ""
        )
        return None, [
            f"{mask_path}: the mask is {label.shape[1]}x{label.shape[0]}, its image {image_path} is "
            f"{image.shape[1]}x{image.shape[0]}; both must have one size{turned}"
        ]

    def read_label(self, path: Path) -> LabelMap:
        """Class indices, with ``VOID`` for what does not count."""
        return self.classes_of(read_mask(path), path)

    def classes_of(self, mask: np.ndarray, path: Path) -> LabelMap:
        """The classes that a mask's values stand for.

        Raises:
            DatasetError: if a value stands for nothing, or the mask holds no such values.
        """
        if mask.ndim != 2:
            raise DatasetError(f"{path}: a mask must hold one class index a pixel; this one holds colours")
        if mask.min() < 0 or mask.max() >= MASK_VALUES:
            raise DatasetError(f"{path}: labels from {mask.min()} to {mask.max()}; masks hold 0 to {MASK_VALUES - 1}")
        present = np.flatnonzero(np.bincount(mask.ravel())).tolist()
        if wrong := [value for value in present if value not in self.values]:
            classes = ranges(value for value, index in self.values.items() if index != VOID)
            void = ranges(value for value, index in self.values.items() if index == VOID)
            raise DatasetError(
                f"{path}: labels {wrong[:10]} are neither a class ({classes}) nor void ({void or 'none'}); "
                + self.remedy
            )
        return self.lookup[mask]

    def check(self, workers: int = 0) -> None:
        """Every file must be there, and 64 pairs spread over the set must be good; to skip bad ones, all are opened."""
        if self.on_error == "skip":
            self.skip_faulty(workers)
            return
        if self.strays:
            log.warning("not used: %s", first_of(self.strays))
        faults = [f"{path}: {why}" for _, *files in self.pairs for path in files if (why := why_unreadable(path))]
        labels: set[int] = set()
        if not faults:
            for index in np.unique(np.linspace(0, len(self) - 1, PROBES).round().astype(int)):
                sample, wrong = self.inspect(index)
                faults += wrong
                labels |= set(np.unique(sample.label).tolist()) if sample else set()
        if labels == {0, VOID} and not faults:
            faults = [f"{self.pairs[0][2]}: the masks hold 0 and 255 only, and 255 does not count; "
                      "if it is class 1, say so: 'values=[0,255]'"]  # fmt: skip
        if faults:
            raise DatasetError(first_of(faults))

    def skip_faulty(self, workers: int) -> None:
        """Drop every bad pair, aloud."""
        found = survey(self, workers)
        if not (lines := found.lines()):
            return
        self.pairs = [pair for index, pair in enumerate(self.pairs) if index not in found.faults]
        log.warning("on_error=skip: %s", first_of(lines))
        log.warning("skipped %d of %d samples; %d are left", len(found.faults), found.samples, len(self.pairs))
        self.strays = ()
        if not self.pairs:
            raise DatasetError(f"no sample is left of {found.samples}; the first fault: {lines[0]}")

    def open_cache(self, workers: int = 0) -> None:
        if self.cache_folder is not None:
            files = [path for _, *paths in self.pairs for path in paths]
            self.cache = open_cache(self.cache_folder, self, files, self.settings().encode(), workers)

    def settings(self) -> str:
        """What labels depend on besides the files."""
        return repr(self.values)


def attempt(reader: Callable[[Path], np.ndarray], path: Path, faults: list[str]) -> np.ndarray | None:
    """What a reader gives; a fault goes to the list."""
    try:
        return reader(path)
    except DatasetError as error:
        faults.append(str(error))
        return None


def describe_shared_images(datasets: Mapping[str, SegmentationDataset]) -> list[str]:
    """Return a line for every two splits that have images in common.

    Args:
        datasets: by split.
    """
    files = {split: {image for _, image, _ in d.pairs} for split, d in datasets.items() if isinstance(d, FileDataset)}
    return [
        f"{len(common)} images are in {one} and in {other}, such as {min(common)}: metrics on them flatter the network"
        for one, other in combinations(files, 2)
        if (common := files[one] & files[other])
    ]
