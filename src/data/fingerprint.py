"""The fingerprint of a data set: the statistics that matter for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from src.data.checks import find_warnings
from src.data.dataset import SegmentationDataset
from src.data.parallel import over_cores
from src.data.survey import Content, Survey, content_of
from src.labels import STRIDE, VOID, LabelMap


@dataclass(frozen=True)
class Fingerprint:
    """Statistics of a data set.

    Attributes:
        classes: names by index.
        surveys: sizes, classes and digests by split.
        thin: the fraction of each class's pixels, over all splits, in parts thinner than the stride of the scores; NaN
            for absent classes.
        warnings: a line for everything that makes metrics misleading, such as an image in two splits.
        examples: (split, index) of samples that together show all classes, the rarest class first.
    """

    classes: Sequence[str]
    surveys: Mapping[str, Survey]
    thin: Sequence[float]
    warnings: Sequence[str]
    examples: Sequence[tuple[str, int]]

    def shares(self, split: str = "train") -> np.ndarray:
        """Return each class's fraction of the non-void pixels in a split."""
        pixels = self.surveys[split].pixels[: len(self.classes)]
        return pixels / max(1, pixels.sum())

    def sides(self) -> np.ndarray:
        """Return an array of the (width, height) of all images, sorted by area."""
        sizes = [size for survey in self.surveys.values() for size, count in survey.sizes.items() for _ in range(count)]
        return np.array(sorted(sizes, key=lambda size: size[0] * size[1]))

    def thin_share(self) -> float:
        """Return the fraction of pixels in thin parts, over all classes that cover less than half of the pixels."""
        pixels = sum((survey.pixels[: len(self.classes)] for survey in self.surveys.values()), np.zeros(1, np.int64))
        small = np.flatnonzero(pixels * 2 < pixels.sum())
        thin = np.nan_to_num(np.array(self.thin))
        return float((pixels * thin)[small].sum() / max(1, pixels[small].sum()))

    def as_json(self) -> dict[str, Any]:
        """Return the fingerprint as plain values."""
        splits = {
            split: {
                "samples": survey.samples,
                "sizes": {f"{width}x{height}": count for (width, height), count in sorted(survey.sizes.items())},
                "pixels": dict(zip(self.classes, survey.pixels[: len(self.classes)].tolist(), strict=True)),
                "images": dict(zip(self.classes, survey.images[: len(self.classes)].tolist(), strict=True)),
                "void_pixels": int(survey.pixels[VOID]),
            }
            for split, survey in self.surveys.items()
        }
        thin = {
            name: None if np.isnan(share) else round(float(share), 4)
            for name, share in zip(self.classes, self.thin, strict=True)
        }
        return {"splits": splits, "thin_share": thin, "warnings": list(self.warnings)}


def take_fingerprint(datasets: Mapping[str, SegmentationDataset], workers: int) -> Fingerprint:
    """Open every sample and return the fingerprint.

    Args:
        datasets: the data set of each split; all samples must be good.
        workers: number of processes to use.
    """
    classes = next(iter(datasets.values())).classes
    surveys = {split: Survey(len(dataset), list(dataset.strays)) for split, dataset in datasets.items()}
    thin, pixels = np.zeros(256, np.int64), np.zeros(256, np.int64)
    most = np.zeros(256)  # the largest fraction of a sample's pixels, by class
    best: dict[int, tuple[str, int]] = {}
    for split, dataset in datasets.items():
        contents = over_cores(Measurement(dataset), len(dataset), f"measuring {split}", workers)
        for index, (content, thin_pixels) in enumerate(contents):
            surveys[split].add(content)
            thin += thin_pixels
            pixels += content.pixels
            share = content.pixels / max(1, content.pixels.sum())
            best |= {label: (split, index) for label in np.flatnonzero(share > most).tolist() if label != VOID}
            most = np.maximum(most, share)
    with np.errstate(invalid="ignore"):
        thin_share = (thin / pixels)[: len(classes)]
    by_rarity = sorted(best, key=lambda label: pixels[label])
    examples = list(dict.fromkeys(best[label] for label in by_rarity))
    return Fingerprint(classes, surveys, thin_share.tolist(), find_warnings(datasets, surveys), examples)


class Measurement:
    """A function that returns one sample's statistics, and its pixels in thin parts by label."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __call__(self, index: int) -> tuple[Content, Int64[np.ndarray, "256"]]:
        sample = self.dataset[index]
        content = content_of(sample)
        thin = np.zeros(256, np.int64)
        for label in np.flatnonzero(content.pixels).tolist():
            thin[label] = 0 if label == VOID else count_thin(sample.label, label)
        return content, thin


def count_thin(labels: LabelMap, label: int) -> int:
    """Return the number of pixels of a class in parts too thin for a square of 8 x 8 pixels.

    Parts may continue beyond the image: its border is not an edge.
    """
    import cv2

    beyond = STRIDE - 1
    inside: UInt8[np.ndarray, "height width"] = np.pad((labels == label).astype(np.uint8), beyond, mode="edge")
    square = np.ones((STRIDE, STRIDE), np.uint8)
    corners = cv2.erode(inside, square, anchor=(0, 0))  # where a square fits
    covered = cv2.dilate(corners, square, anchor=(beyond, beyond))
    thin = (inside > covered)[beyond:-beyond, beyond:-beyond]
    return int(thin.sum())
