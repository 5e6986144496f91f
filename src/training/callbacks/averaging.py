"""The average of weights over steps, for ``lightning.pytorch.callbacks.WeightAveraging``."""

from collections.abc import Callable

from torch import Tensor

Average = Callable[[Tensor, Tensor, Tensor], Tensor]


def average_from(start: int) -> Average:
    """Return the plain mean of the weights after step ``start``; until then, the weights are not averaged.

    Lightning's StochasticWeightAveraging counts in epochs, but a run here is a number of steps.

    Args:
        start: steps that are left out of the average.

    Raises:
        ValueError: if ``start`` is negative.
    """
    if start < 0:
        raise ValueError(f"start={start}: must not be negative")

    def average(averaged: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        share = 1 / ((updates - start).clamp(min=0) + 1)  # stays on the device, so nothing waits for the GPU
        return averaged + (current - averaged) * share

    return average
