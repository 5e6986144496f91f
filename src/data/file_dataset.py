"""Data sets of image and mask files: read and check pairs of files, and skip bad ones on request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path

import numpy as np

from src.data.cache.cache import PackedCache, open_cache
from src.data.dataset import DatasetError, Sample, SegmentationDataset, check_classes
from src.data.decode import MISSING, Mask, read_image, read_mask, why_unreadable
from src.data.survey import first_of, ranges, survey
from src.labels import VOID, LabelMap
from src.system.counted import counted
from src.system.files import expand_path

log = logging.getLogger(__name__)

MASK_VALUES = 1 << 16  # number of values that a mask can hold: 0..65535
PROBES = 64  # number of samples that the quick check opens


class FileDataset(SegmentationDataset):
    """Pairs of an image file and a mask file of the same size.

    Args:
        pairs: (id, image file, mask file) of every sample.
        values: the class, or ``VOID``, of every allowed mask value 0..65535; None if the values are class indices, and
            255 is void.
        on_error: "raise", or "skip" to open all samples before training and skip the bad ones.
        cache: folder for decoded samples, or None.
        strays: a line for each file that belongs to no pair.
        missing: a line for each image in the split's list that does not exist.
        listed_in: the list that names the pairs; None if the pairs are those of two folders.

    Raises:
        DatasetError: if an argument is wrong, or an image is missing and ``on_error`` is "raise".
    """

    remedy = "convert the mask to class indices"
    remedy_for_255 = "if it is a class, convert the masks to class indices"

    def __init__(
        self,
        pairs: Sequence[tuple[str, Path, Path]],
        values: Mapping[int, int] | None = None,
        on_error: str = "raise",
        cache: str | None = None,
        strays: Sequence[str] = (),
        missing: Sequence[str] = (),
        listed_in: Path | None = None,
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise DatasetError(f"on_error={on_error}: must be raise or skip")
        if missing and on_error == "raise":
            raise DatasetError(f"{first_of(missing)}; on_error=skip skips such images")
        check_classes(self.classes)
        self.pairs, self.listed_in = list(pairs), listed_in
        self.on_error, self.strays = on_error, [*missing, *strays]
        self.values = dict(values or {index: index for index in (*range(len(self.classes)), VOID)})
        self.lookup = np.zeros(max(self.values) + 1, np.uint8)
        self.lookup[list(self.values)] = list(self.values.values())
        self.cache_folder = expand_path(cache) if cache else None
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
        """Read a pair; return a sample and no faults, or None and all its faults."""
        id_, image_path, mask_path = self.pairs[index]
        faults: list[str] = []
        image = self.read_or_collect_fault(read_image, image_path, faults)
        label = self.read_or_collect_fault(self.read_label, mask_path, faults)
        if image is None or label is None:
            return None, faults
        if image.shape[:2] == label.shape:
            return Sample(image, label, id_), []
        turned = (
            "; the mask fits the image before EXIF rotation: save the image without an EXIF orientation"
            if image.shape[:2] == label.shape[::-1]
            else ""
        )
        return None, [
            f"{mask_path}: the mask is {label.shape[1]}x{label.shape[0]}, its image {image_path} is "
            f"{image.shape[1]}x{image.shape[0]}; both must have the same size{turned}"
        ]

    def read_or_collect_fault(
        self, reader: Callable[[Path], np.ndarray], path: Path, faults: list[str]
    ) -> np.ndarray | None:
        """Return the result of a reader; on ``DatasetError``, append the message to ``faults`` and return None."""
        try:
            return reader(path)
        except DatasetError as error:
            faults.append(self.with_remedy(str(error)))
            return None

    def with_remedy(self, fault: str) -> str:
        """Return a fault of a file of a pair, with what to do if the file is missing."""
        if not fault.endswith(f": {MISSING}"):
            return fault
        place = f"the line of its image from {self.listed_in}" if self.listed_in else "the other file of its pair"
        return f"{fault}; add it, remove {place}, or leave out such images with on_error=skip"

    def read_label(self, path: Path) -> LabelMap:
        """Return the label map of a mask file."""
        return self.classes_of(read_mask(path), path)

    def classes_of(self, mask: Mask, path: Path) -> LabelMap:
        """Return the class of each pixel by its value in the mask.

        Raises:
            DatasetError: if a value is neither a class nor void, or the mask holds colours.
        """
        values = mask.values
        if values.ndim != 2:
            raise DatasetError(f"{path}: a mask must have one class index per pixel; this one has colours")
        if values.min() < 0 or values.max() >= MASK_VALUES:
            raise DatasetError(f"{path}: labels {values.min()} to {values.max()}; masks hold 0 to {MASK_VALUES - 1}")
        present = np.flatnonzero(np.bincount(values.ravel())).tolist()
        if unknown := [value for value in present if value not in self.values]:
            classes = ranges(value for value, index in self.values.items() if index != VOID)
            void = ranges(value for value, index in self.values.items() if index == VOID)
            example = str(present).replace(" ", "") if len(present) == len(self.classes) else "[...]"
            raise DatasetError(
                f"{path}: labels {unknown[:10]} are neither a class ({classes}) nor void ({void or 'none'}); "
                + self.remedy.format(values=example)
            )
        return self.lookup[values]

    def check(self, workers: int = 0) -> None:
        """Check that every file exists, and open 64 evenly spaced pairs; with on_error=skip, open all pairs.

        Raises:
            DatasetError: with the first faults, or if all masks are entirely void.
        """
        if self.on_error == "skip":
            faults, self.labels = list[str](), self.skip_faulty(workers)
        else:
            if self.strays:
                log.warning("not used: %s", first_of(self.strays))
            faults, self.labels = self.probe()
        if self.labels == {VOID} and not self.may_be_void:
            remedy = self.remedy.format(values="[...]")
            faults.append(f"{self.pairs[0][2]}: like all masks of its split, void in every pixel; {remedy}")
        if faults:
            raise DatasetError(first_of(faults))

    def probe(self) -> tuple[list[str], set[int]]:
        """Return the faults and labels of 64 pairs, or of more until there is something to learn."""
        files = [path for _, *pair in self.pairs for path in pair]
        faults = [self.with_remedy(f"{path}: {why}") for path in files if (why := why_unreadable(path))]
        labels: set[int] = set()
        if faults:
            return faults, labels
        probes = np.unique(np.linspace(0, len(self) - 1, PROBES).round().astype(int)).tolist()
        others = sorted(set(range(len(self))) - set(probes))
        for position, index in enumerate([*probes, *others]):
            unlearnable = labels == {VOID} or (labels == {0, VOID} and self.is_only_255_void())
            if position >= len(probes) and (faults or not unlearnable):
                break
            sample, sample_faults = self.inspect(index)
            faults += sample_faults
            labels |= set(np.unique(sample.label).tolist()) if sample else set()
        return faults, labels

    def is_only_255_void(self) -> bool:
        """Tell whether masks contain class indices, with 255 as the only void value."""
        return self.values.get(0) == 0 and [value for value, index in self.values.items() if index == VOID] == [VOID]

    def image_files(self) -> Set[Path]:
        return {image for _, image, _ in self.pairs}

    def explain_binary_masks(self) -> str:
        """Return a line about masks with only 0 and 255, as in binary masks, if 255 is void; "" otherwise."""
        if not self.is_only_255_void():
            return ""
        return f"{self.pairs[0][2]}: the masks hold 0 and 255 only, and 255 does not count; {self.remedy_for_255}"

    def skip_faulty(self, workers: int) -> set[int]:
        """Remove and log every bad pair; return the labels in the good ones."""
        found = survey(self, workers)
        if lines := found.lines():
            self.pairs = [pair for index, pair in enumerate(self.pairs) if index not in found.faults]
            log.warning("on_error=skip: %s", first_of(lines))
            samples, left = counted(found.samples, "sample"), counted(len(self.pairs), "is", "are")
            log.warning("skipped %d of %s; %s left", len(found.faults), samples, left)
            self.strays = ()
            if not self.pairs:
                raise DatasetError(f"no sample is without a fault; the first fault: {lines[0]}")
        return found.labels()

    def open_cache(self, workers: int = 0) -> None:
        """Open the cache, if there is a folder for it; build it first if necessary."""
        if self.cache_folder is not None:
            files = [path for _, *paths in self.pairs for path in paths]
            self.cache = open_cache(self.cache_folder, self, files, self.settings().encode(), workers)

    def settings(self) -> str:
        """Return a string of everything besides the files that affects labels."""
        return repr(self.values)
