"""The paper's search (section 4): a coarse grid, then finer ones around the best."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence

from src.errors import UserError
from src.tuning.search import SEARCHED, Trial, Values, described

log = logging.getLogger(__name__)

MOST_REFINED = 20  # finer grids; each halves the step


class Grid:
    """Every configuration of a grid, then in each round the best so far and its neighbours at half the step before.

    Args:
        grid: values by parameter. One that has a single value stays at it.
        refine: rounds after the first.

    Raises:
        UserError: if there is no such grid.
    """

    def __init__(self, grid: Mapping[str, Sequence[float]], refine: int) -> None:
        if type(refine) is not int or not 0 <= refine <= MOST_REFINED:
            raise UserError(f"refine={refine}: must be a whole number from 0 to {MOST_REFINED}")
        if not isinstance(grid, Mapping) or not grid:
            raise UserError(f"grid={grid}: must be lists of numbers by parameter: 'grid.sxy=[50,100]'")
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


def smallest_step(values: Sequence[float]) -> float:
    ordered = sorted(set(values))
    return min((high - low for low, high in itertools.pairwise(ordered)), default=0.0)
