"""Every sample of a dataset opened once: its faults, and how often each class occurs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

from src.data.dataset import SegmentationDataset
from src.data.parallel import over_cores

SHOWN = 10  # faults that a command prints before it refers to the whole list


@dataclass
class Survey:
    """What was found.

    Attributes:
        faults: by sample, all that is wrong with it, each line naming its file.
        strays: faults of the folders that belong to no sample.
        pixels: by label (0..255), over all good samples.
        images: by label, the good samples that hold it.
        sizes: (width, height) of the good samples, and how many have it.
    """

    samples: int
    strays: list[str]
    faults: dict[int, list[str]] = field(default_factory=dict)
    pixels: Int64[np.ndarray, "256"] = field(default_factory=lambda: np.zeros(256, np.int64))
    images: Int64[np.ndarray, "256"] = field(default_factory=lambda: np.zeros(256, np.int64))
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """All faults, one line each."""
        return [*self.strays, *(line for lines in self.faults.values() for line in lines)]


def survey(dataset: SegmentationDataset, workers: int) -> Survey:
    """Open every sample, over ``workers`` processes; faults are collected, never raised."""
    found = Survey(len(dataset), list(dataset.strays))
    results = over_cores(Look(dataset), len(dataset), "checking every sample", workers)
    for index, (faults, pixels, size) in enumerate(results):
        if faults:
            found.faults[index] = faults
        else:
            found.pixels += pixels
            found.images += pixels > 0
            found.sizes[size] = found.sizes.get(size, 0) + 1
    return found


class Look:
    """What there is to say about one sample: (faults, pixels by label, (width, height))."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __call__(self, index: int) -> tuple[list[str], Int64[np.ndarray, "256"], tuple[int, int]]:
        sample, faults = self.dataset.inspect(index)
        if sample is None:
            return faults, np.zeros(256, np.int64), (0, 0)
        height, width = sample.label.shape
        return faults, np.bincount(sample.label.ravel(), minlength=256), (width, height)


def first_of(lines: Sequence[str]) -> str:
    """The first faults, one a line."""
    more = f"\n... and {len(lines) - SHOWN} more; python -m src.prepare verify=true lists all" * (len(lines) > SHOWN)
    return "\n".join(lines[:SHOWN]) + more


def ranges(values: Iterable[int]) -> str:
    """[0, 1, 2, 3, 11] -> "0..3, 11"."""
    parts: list[list[int]] = []
    for value in sorted(values):
        if parts and value == parts[-1][1] + 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}..{b}" for a, b in parts)
