"""Open every sample of a data set once, and collect its faults, class counts and sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from src.data.dataset import Sample, SegmentationDataset
from src.data.parallel import over_cores
from src.labels import VOID
from src.system.command_name import as_typed
from src.system.errors import printable


@dataclass
class Survey:
    """The results of a survey.

    Attributes:
        samples: number of samples.
        strays: a line for each file that belongs to no sample.
        faults: all faults by sample index; each is a line that starts with the file.
        pixels: number of pixels by label (0..255), over all good samples.
        images: number of good samples that contain a label, by label.
        sizes: number of good samples by (width, height).
        void: ids of the good samples that are entirely void.
        digests: ids of the good samples by the digest of their image.
    """

    samples: int
    strays: list[str]
    faults: dict[int, list[str]] = field(default_factory=dict)
    pixels: Int64[np.ndarray, "256"] = field(default_factory=lambda: np.zeros(256, np.int64))
    images: Int64[np.ndarray, "256"] = field(default_factory=lambda: np.zeros(256, np.int64))
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    void: list[str] = field(default_factory=list)
    digests: dict[bytes, str] = field(default_factory=dict)

    def add(self, content: Content) -> None:
        """Add the statistics of a good sample."""
        self.pixels += content.pixels
        self.images += content.pixels > 0
        self.sizes[content.size] = self.sizes.get(content.size, 0) + 1
        self.digests.setdefault(content.digest, content.id)
        if not content.pixels[:VOID].any():
            self.void.append(content.id)

    def lines(self) -> list[str]:
        """Return all faults, one line each."""
        return [*self.strays, *(line for lines in self.faults.values() for line in lines)]

    def rows(self, classes: Sequence[str]) -> list[tuple[str, int, int]]:
        """Return (name, pixels, images) for each class, then for void."""
        names = [*enumerate(classes), (VOID, "void")]
        return [(name, int(self.pixels[label]), int(self.images[label])) for label, name in names]

    def labels(self) -> set[int]:
        """Return the labels that occur."""
        return set(np.flatnonzero(self.pixels).tolist())


def survey(dataset: SegmentationDataset, workers: int) -> Survey:
    """Open every sample in ``workers`` processes and return the results; faults are collected, not raised."""
    found = Survey(len(dataset), list(dataset.strays))
    for index, content in enumerate(over_cores(Inspection(dataset), len(dataset), "checking every sample", workers)):
        if isinstance(content, list):
            found.faults[index] = content
        else:
            found.add(content)
    return found


class Content(NamedTuple):
    """The statistics of a good sample."""

    id: str
    pixels: Int64[np.ndarray, "256"]  # by label
    size: tuple[int, int]  # width, height
    digest: bytes  # of the image's size and pixels


class Inspection:
    """A function that opens the sample at an index and returns its statistics or its faults."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __call__(self, index: int) -> Content | list[str]:
        sample, faults = self.dataset.inspect(index)
        return faults if sample is None else content_of(sample)


def content_of(sample: Sample) -> Content:
    """Return the statistics of a sample."""
    height, width = sample.label.shape
    digest = hashlib.blake2b(f"{width}x{height}".encode(), digest_size=16)
    digest.update(sample.image.tobytes())
    return Content(sample.id, np.bincount(sample.label.ravel(), minlength=256), (width, height), digest.digest())


def first_of(lines: Sequence[str]) -> str:
    """Return the first fault, the number of others, and how to list all."""
    first, others = printable(lines[0]), len(lines) - 1
    return f"{first} ({others:,} more; {as_typed('prepare')} verify=true lists all)" if others else first


def ranges(values: Iterable[int]) -> str:
    """Return integers formatted as ranges: [0, 1, 2, 3, 11] -> "0..3, 11"."""
    parts: list[list[int]] = []
    for value in sorted(values):
        if parts and value == parts[-1][1] + 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}..{b}" for a, b in parts)
