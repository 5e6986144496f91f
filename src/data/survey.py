"""Every sample of a data set opened once: its faults, how often each class occurs, and what its images hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from src.data.dataset import Sample, SegmentationDataset
from src.data.parallel import over_cores
from src.errors import printable
from src.labels import VOID

SHOWN = 10  # faults that a command prints before it refers to the whole list


@dataclass
class Survey:
    """What was found.

    Attributes:
        samples: how many there are.
        strays: faults of the folders that belong to no sample.
        faults: by sample, all that is wrong with it, each line naming its file.
        pixels: by label (0..255), over all good samples.
        images: by label, the good samples that hold it.
        sizes: (width, height) of the good samples, and how many have it.
        void: ids of the good samples that are void everywhere.
        digests: ids of the good samples by a digest of their images' pixels.
    """

    samples: int
    strays: list[str]
    faults: dict[int, list[str]] = field(default_factory=dict)
    pixels: Int64[np.ndarray, "256"] = field(default_factory=lambda: np.zeros(256, np.int64))
    images: Int64[np.ndarray, "256"] = field(default_factory=lambda: np.zeros(256, np.int64))
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    void: list[str] = field(default_factory=list)
    digests: dict[bytes, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return all faults, one line each."""
        return [*self.strays, *(line for lines in self.faults.values() for line in lines)]

    def labels(self) -> set[int]:
        """Return the labels that occur."""
        return set(np.flatnonzero(self.pixels).tolist())


def survey(dataset: SegmentationDataset, workers: int) -> Survey:
    """Open every sample, over ``workers`` processes; faults are collected, never raised."""
    found = Survey(len(dataset), list(dataset.strays))
    for index, content in enumerate(over_cores(Inspection(dataset), len(dataset), "checking every sample", workers)):
        if isinstance(content, list):
            found.faults[index] = content
            continue
        found.pixels += content.pixels
        found.images += content.pixels > 0
        found.sizes[content.size] = found.sizes.get(content.size, 0) + 1
        found.digests.setdefault(content.digest, content.id)
        if not content.pixels[:VOID].any():
            found.void.append(content.id)
    return found


class Content(NamedTuple):
    """What a good sample holds."""

    id: str
    pixels: Int64[np.ndarray, "256"]  # by label
    size: tuple[int, int]  # width, height
    digest: bytes  # of the image's size and pixels


class Inspection:
    """Looks at one sample of a data set by its index; returns what it holds, or its faults."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __call__(self, index: int) -> Content | list[str]:
        sample, faults = self.dataset.inspect(index)
        return faults if sample is None else content_of(sample)


def content_of(sample: Sample) -> Content:
    """Return what a sample holds."""
    height, width = sample.label.shape
    digest = hashlib.blake2b(f"{width}x{height}".encode(), digest_size=16)
    digest.update(sample.image.tobytes())
    return Content(sample.id, np.bincount(sample.label.ravel(), minlength=256), (width, height), digest.digest())


def first_of(lines: Sequence[str]) -> str:
    """Return the first faults, one a line."""
    more = f"\n... and {len(lines) - SHOWN} more; python -m src.prepare verify=true lists all" * (len(lines) > SHOWN)
    return "\n".join(map(printable, lines[:SHOWN])) + more


def ranges(values: Iterable[int]) -> str:
    """[0, 1, 2, 3, 11] -> "0..3, 11"."""
    parts: list[list[int]] = []
    for value in sorted(values):
        if parts and value == parts[-1][1] + 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}..{b}" for a, b in parts)
