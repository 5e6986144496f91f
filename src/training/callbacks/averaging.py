"""The average of weights over steps, for ``lightning.pytorch.callbacks.WeightAveraging``."""

from collections.abc import Callable

from torch import Tensor

Average = Callable[[Tensor, Tensor, Tensor], Tensor]


def average_from(start: int) -> Average:
    """Return an averaging function: the mean of the weights from step ``start`` on; before that, the current weights.

    Lightning's StochasticWeightAveraging counts epochs, but runs here are counted in steps.

    Args:
        start: number of steps before the averaging starts.

    Raises:
        ValueError: if ``start`` is negative.
    """
    if start < 0:
        raise ValueError(f"start={start}: must not be negative")

    def average(averaged: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        share = 1 / ((updates - start).clamp(min=0) + 1)  # stays on the device, so nothing waits for the GPU
        return averaged + (current - averaged) * share

    return average
