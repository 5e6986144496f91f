"""A search for the CRF's parameters: what it counts, and how a searcher is asked for configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.metrics import SegmentationMetrics
from src.metrics.confusion import ratios
from src.models.geometry import score_stride, upsample_scores
from src.system.futures import OrderedFutures

Values = dict[str, float]  # of the CRF's parameters, by name
SEARCHED = ("w1", "sxy", "srgb", "w2", "sg")
Confusion = Integer[Tensor, "classes classes"]


@dataclass(frozen=True)
class ScoredImage:
    """What refinement starts from, and what it should find."""

    image: UInt8[Tensor, "3 height width"]
    label: UInt8[Tensor, "height width"]
    scores: Float[Tensor, "classes rows columns"]  # float16


@dataclass(frozen=True)
class Trial:
    """One configuration, counted. round: 0 for the coarse grid or random draws, 1, 2, ... for what builds on those."""

    values: Values
    round: int
    confusion: Confusion
    seconds: float

    @property
    def miou(self) -> float:
        return float(ratios(self.confusion)["miou"])


# Gives configurations and their rounds; before it is asked for the next, the trials it was given hold the last one's.
Searcher = Callable[[Sequence[Trial]], Iterator[tuple[Values, int]]]


def search(count: Callable[[Values], tuple[Confusion, float]], searcher: Searcher) -> Iterator[Trial]:
    """Everything that the searcher comes up with, counted.

    Args:
        count: gives the confusion matrix of a configuration, and the seconds that it took.
    """
    done: list[Trial] = []
    for values, round in searcher(done):
        done.append(Trial(values, round, *count(values)))
        yield done[-1]


def described(trial: Trial) -> str:
    return " ".join(f"{name}={value:g}" for name, value in trial.values.items())


def split_images(count: int, most: int, held_back: float, seed: int) -> dict[str, list[int]]:
    """Indices to search on and to hold back, drawn by the seed; no index is in both."""
    order = np.random.default_rng(seed).permutation(count).tolist()
    kept = min(most, round(held_back * count), count - 1)
    return {"searched": sorted(order[kept : kept + most]), "held_back": sorted(order[:kept])}


def refined_confusion(crf: DenseCRF, images: Sequence[ScoredImage], classes: int, workers: int | None) -> Confusion:
    """Return the confusion matrix of all images after the CRF; each core refines one image at a time."""
    metrics = SegmentationMetrics(classes)
    pending: OrderedFutures[Tensor, Tensor] = OrderedFutures(lambda f, label: metrics.update(f.result(), label))
    with RefinementPool(crf, workers) as pool:
        for one in images:
            stride = score_stride(one.scores.shape[-2:], one.image.shape[-2:])
            pending.add(pool.refine(one.image, one.scores, stride), one.label)
        pending.finish()
    return metrics.confusion


def network_confusion(images: Sequence[ScoredImage], classes: int) -> Confusion:
    """Counts of all images without a CRF."""
    metrics = SegmentationMetrics(classes)
    for one in images:
        metrics.update(upsample_scores(one.scores[None].float(), one.label.shape)[0].argmax(0), one.label)
    return metrics.confusion
