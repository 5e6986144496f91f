"""The paper's search (section 5): a coarse grid, then finer ones around the best point."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence

from src.system.counted import counted
from src.system.errors import UserError
from src.tuning.search import SEARCHED, Trial, Values, format_values

log = logging.getLogger(__name__)

MAX_REFINE = 20  # largest number of finer grids; each halves the step


class Grid:
    """Proposes all points of a grid, then in each round the neighbours of the best point, at half the last step.

    Args:
        grid: values by parameter. A parameter with a single value keeps it; None keeps that of the CRF.
        refine: number of finer rounds.

    Raises:
        UserError: if a value is not valid.
    """

    def __init__(self, grid: Mapping[str, Sequence[float] | None], refine: int) -> None:
        if type(refine) is not int or not 0 <= refine <= MAX_REFINE:
            raise UserError(f"refine={refine}: must be a whole number from 0 to {MAX_REFINE}")
        if not isinstance(grid, Mapping):
            raise UserError(f"grid={grid}: must be lists of numbers by parameter, such as '{{sxy: [50, 100]}}'")
        varied = {name: values for name, values in grid.items() if values is not None}
        if not varied:
            raise UserError(f"grid={grid}: has no values; give some, such as 'grid.sxy=[50,100]'")
        for name, values in varied.items():
            valid = isinstance(values, Sequence) and all(type(v) in (int, float) and v > 0 for v in values)
            if name not in SEARCHED or not values or not valid:
                raise UserError(
                    f"grid.{name}={values}: the grid takes lists of positive numbers for {', '.join(SEARCHED)}"
                )
        self.grid = {name: [float(value) for value in values] for name, values in varied.items()}
        self.refine = refine

    def __call__(self, done: Sequence[Trial]) -> Iterator[tuple[Values, int]]:
        """Yield configurations and their round, 0 for the coarse grid."""
        proposed: set[tuple[float, ...]] = set()
        steps = {name: smallest_step(values) for name, values in self.grid.items()}
        points = list(itertools.product(*self.grid.values()))
        for round in range(self.refine + 1):
            for point in points:
                if point not in proposed:
                    proposed.add(point)
                    yield dict(zip(self.grid, point, strict=True)), round
            best = max(done, key=lambda trial: trial.miou)
            log.info(
                "%s, best so far: %s, mean IoU %.2f",
                counted(len(done), "configuration"),
                format_values(best),
                100 * best.miou,
            )
            steps = {name: step / 2 for name, step in steps.items()}
            neighbours = [dict.fromkeys(best.values[n] + sign * steps[n] for sign in (-1, 0, 1)) for n in self.grid]
            points = list(itertools.product(*([value for value in values if value > 0] for values in neighbours)))


def smallest_step(values: Sequence[float]) -> float:
    """Return the smallest difference between two values; 0 if there is only one."""
    ordered = sorted(set(values))
    return min((high - low for low, high in itertools.pairwise(ordered)), default=0.0)
