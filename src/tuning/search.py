"""The search for the CRF's parameters: its data types, its loop, and the counting of one configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from src.crf import DenseCRF, Parameters, RefinementPool
from src.metrics import SegmentationMetrics
from src.metrics.confusion import ratios
from src.models.geometry import predict_labels, score_stride
from src.system.futures import OrderedFutures

Values = dict[str, Any]  # of the CRF's parameters, by name: numbers, or lists of numbers by class
# Weights and widths: the parameters that are real numbers greater than 0 by default.
SEARCHED = tuple(field.name for field in fields(Parameters) if isinstance(field.default, float) and field.default > 0)
Confusion = Integer[Tensor, "classes classes"]


@dataclass(frozen=True)
class ScoredImage:
    """An image with the network's scores and its true labels."""

    image: UInt8[Tensor, "3 height width"]
    label: UInt8[Tensor, "height width"]
    scores: Float[Tensor, "classes rows columns"]  # float16


@dataclass(frozen=True)
class Trial:
    """A configuration and its counts.

    Attributes:
        values: the CRF's parameters.
        round: 0 for the coarse grid or random draws, 1, 2, ... for the rounds that build on these.
        confusion: pixels by true class (row) and predicted class (column).
        seconds: time to count it.
    """

    values: Values
    round: int
    confusion: Confusion
    seconds: float

    @property
    def miou(self) -> float:
        """The mean IoU over classes, in 0..1."""
        return float(ratios(self.confusion)["miou"])


# A searcher yields configurations and their rounds. Its argument is a list of trials, to which each result is appended
# before the next configuration is requested.
Searcher = Callable[[Sequence[Trial]], Iterator[tuple[Values, int]]]


def search(count: Callable[[Values], tuple[Confusion, float]], searcher: Searcher) -> Iterator[Trial]:
    """Yield a trial for each configuration that the searcher proposes.

    Args:
        count: returns the confusion matrix of a configuration, and the seconds that it took.
        searcher: proposes configurations.
    """
    trials: list[Trial] = []
    for values, round in searcher(trials):
        trials.append(Trial(values, round, *count(values)))
        yield trials[-1]


def format_values(trial: Trial) -> str:
    """Return the parameters of a trial as NAME=VALUE pairs, without lists."""
    return " ".join(f"{name}={value:g}" for name, value in trial.values.items() if not isinstance(value, list))


def split_images(count: int, most: int, held_back: float, seed: int) -> dict[str, list[int]]:
    """Return the indices of images to search on and to hold back, drawn at random without overlap.

    Args:
        count: number of images.
        most: largest number of images to search on.
        held_back: share of all images to hold back.
        seed: seed of the draw.
    """
    order = np.random.default_rng(seed).permutation(count).tolist()
    kept = min(most, round(held_back * count), count - 1)
    return {"searched": sorted(order[kept : kept + most]), "held_back": sorted(order[:kept])}


def refined_confusion(crf: DenseCRF, images: Sequence[ScoredImage], classes: int, workers: int | None) -> Confusion:
    """Return the confusion matrix of all images after the CRF; each worker refines one image at a time."""
    metrics = SegmentationMetrics(classes)
    pending: OrderedFutures[Tensor, Tensor] = OrderedFutures(lambda f, label: metrics.update(f.result(), label))
    with RefinementPool(crf, workers) as pool:
        for image in images:
            stride = score_stride(image.scores.shape[-2:], image.image.shape[-2:])
            pending.add(pool.refine_labels(image.image, image.scores, stride), image.label)
        pending.finish()
    return metrics.confusion


def network_confusion(images: Sequence[ScoredImage], classes: int) -> Confusion:
    """Return the confusion matrix of all images without a CRF."""
    metrics = SegmentationMetrics(classes)
    for image in images:
        metrics.update(predict_labels(image.scores[None].float(), image.label.shape)[0], image.label)
    return metrics.confusion
