"""The search for a CRF's parameters; here by a coarse grid, then finer ones around the best (paper, section 4)."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.errors import UserError
from src.metrics import SegmentationMetrics
from src.metrics.segmentation import ratios
from src.models.geometry import score_stride, upsample_scores

log = logging.getLogger(__name__)

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


class Grid:
    """Every configuration of a grid, then in each round the best so far and its neighbours at half the step before.

    Args:
        grid: values by parameter. One that has a single value stays at it.
        refine: rounds after the first.

    Raises:
        UserError: if there is no such grid.
    """

    def __init__(self, grid: Mapping[str, Sequence[float]], refine: int) -> None:
        if type(refine) is not int or refine < 0:
            raise UserError(f"refine={refine}: give a number of finer grids, 0 or more")
        for name, values in grid.items():
            valid = isinstance(values, Sequence) and all(type(v) in (int, float) and v > 0 for v in values)
            if name not in SEARCHED or not values or not valid:
                raise UserError(
                    f"grid.{name}={values}: the grid takes lists of positive numbers for {', '.join(SEARCHED)}"
                )
        self.grid = {name: [float(value) for value in values] for name, values in grid.items()}
        self.refine = refine

    def __call__(self, done: Sequence[Trial]) -> Iterator[tuple[Values, int]]:
        asked: set[tuple[float, ...]] = set()
        steps = {name: smallest_step(values) for name, values in self.grid.items()}
        points = list(itertools.product(*self.grid.values()))
        for round in range(self.refine + 1):
            for point in points:
                if point not in asked:
                    asked.add(point)
                    yield dict(zip(self.grid, point, strict=True)), round
            best = max(done, key=lambda trial: trial.miou)
            log.info("%d configurations, best so far: %s, mean IoU %.2f", len(done), described(best), 100 * best.miou)
            steps = {name: step / 2 for name, step in steps.items()}
            around = [dict.fromkeys(best.values[n] + sign * steps[n] for sign in (-1, 0, 1)) for n in self.grid]
            points = list(itertools.product(*([value for value in values if value > 0] for values in around)))


def described(trial: Trial) -> str:
    return " ".join(f"{name}={value:g}" for name, value in trial.values.items())


def split_images(count: int, most: int, held_back: float, seed: int) -> dict[str, list[int]]:
    """Indices to search on and to hold back, drawn by the seed; no index is in both."""
    if most < 1 or not 0 <= held_back < 1:
        raise UserError(f"images={most} must be positive, held_back={held_back} a share, 0 <= held_back < 1")
    order = np.random.default_rng(seed).permutation(count).tolist()
    kept = min(most, round(held_back * count), count - 1)
    return {"searched": sorted(order[kept : kept + most]), "held_back": sorted(order[:kept])}


def smallest_step(values: Sequence[float]) -> float:
    ordered = sorted(set(values))
    return min((high - low for low, high in itertools.pairwise(ordered)), default=0.0)


def refined_confusion(crf: DenseCRF, images: Sequence[ScoredImage], classes: int, workers: int | None) -> Confusion:
    """Counts of all images after the CRF, one image a core."""
    metrics = SegmentationMetrics(classes)
    under_way: deque[tuple[Future[Tensor], Tensor]] = deque()
    with RefinementPool(crf, workers) as pool:
        for one in images:
            stride = score_stride(one.scores.shape[-2:], one.image.shape[-2:])
            under_way.append((pool.refine(one.image, one.scores, stride), one.label))
            while under_way and under_way[0][0].done():
                future, label = under_way.popleft()
                metrics.update(future.result(), label)
        for future, label in under_way:
            metrics.update(future.result(), label)
    return metrics.confusion


def network_confusion(images: Sequence[ScoredImage], classes: int) -> Confusion:
    """Counts of all images without a CRF."""
    metrics = SegmentationMetrics(classes)
    for one in images:
        metrics.update(upsample_scores(one.scores[None].float(), one.label.shape)[0].argmax(0), one.label)
    return metrics.confusion
