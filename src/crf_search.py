"""The search for a CRF's parameters: a coarse grid, then finer ones around the best (paper, section 4)."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.metrics import SegmentationMetrics
from src.metrics.segmentation import ratios
from src.models.geometry import score_stride, upsample_scores

log = logging.getLogger(__name__)

Values = dict[str, float]  # of the CRF's parameters, by name
Confusion = Integer[Tensor, "classes classes"]


@dataclass(frozen=True)
class ScoredImage:
    """What refinement starts from, and what it should find."""

    image: UInt8[Tensor, "3 height width"]
    label: UInt8[Tensor, "height width"]
    scores: Float[Tensor, "classes rows columns"]  # float16


@dataclass(frozen=True)
class Trial:
    """One configuration, counted. round: 0 for the coarse grid, 1, 2, ... for the finer ones."""

    values: Values
    round: int
    confusion: Confusion
    seconds: float

    @property
    def miou(self) -> float:
        return float(ratios(self.confusion)["miou"])


def search(
    count: Callable[[Values], tuple[Confusion, float]], grid: Mapping[str, Sequence[float]], rounds: int
) -> Iterator[Trial]:
    """Every configuration of the grid, then in each round the best so far and its neighbours at half the step before.

    Args:
        count: gives the confusion matrix of a configuration, and the seconds that it took.
        grid: values by parameter. One that has a single value stays at it.
    """
    trials: dict[tuple[float, ...], Trial] = {}
    steps = {name: smallest_step(values) for name, values in grid.items()}
    points = list(itertools.product(*grid.values()))
    for round in range(rounds + 1):
        for point in points:
            if point not in trials:
                values = dict(zip(grid, point, strict=True))
                trials[point] = Trial(values, round, *count(values))
                yield trials[point]
        best = max(trials.values(), key=lambda trial: trial.miou)
        log.info("%d configurations, best so far: %s, mean IoU %.2f", len(trials), described(best), 100 * best.miou)
        steps = {name: step / 2 for name, step in steps.items()}
        around = [dict.fromkeys(best.values[n] + sign * steps[n] for sign in (-1, 0, 1)) for n in grid]
        points = list(itertools.product(*([value for value in values if value > 0] for values in around)))


def described(trial: Trial) -> str:
    return " ".join(f"{name}={value:g}" for name, value in trial.values.items())


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


def digest_of(images: Sequence[ScoredImage]) -> str:
    """Of their pixels and labels."""
    found = hashlib.sha256()
    for one in images:
        for tensor in (one.image, one.label):
            found.update(f"{tuple(tensor.shape)}".encode())
            found.update(tensor.numpy().tobytes())
    return found.hexdigest()[:16]


class Journal:
    """Confusion matrices on disk, a line of JSON each, written as soon as they are there: a search that is killed loses
    the one it was at, and the next one goes on from there.

    Args:
        path: of the file; made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, tuple[Confusion, float]] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the line that a kill cut off
                continue
            self.entries[json.dumps(entry["key"])] = torch.tensor(entry["confusion"]), entry["seconds"]

    def once(self, key: Mapping[str, object], count: Callable[[], Confusion]) -> tuple[Confusion, float]:
        """What ``count`` gives and the seconds it took; from the file where a line has this key."""
        name = json.dumps(dict(key))
        if name not in self.entries:
            start = time.perf_counter()
            confusion = count()
            self.entries[name] = confusion, round(time.perf_counter() - start, 3)
            self.append({"key": key, "confusion": confusion.tolist(), "seconds": self.entries[name][1]})
        return self.entries[name]

    def append(self, entry: Mapping[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
                file.write(b"\n")  # after a line that was cut off
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
