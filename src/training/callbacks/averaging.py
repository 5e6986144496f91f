"""How ``lightning.pytorch.callbacks.WeightAveraging`` weighs the weights of each iteration."""

from collections.abc import Callable

from torch import Tensor

Average = Callable[[Tensor, Tensor, Tensor], Tensor]


def average_from(start: int) -> Average:
    """The plain mean of the weights after iteration ``start``; until then the weights as they are.

    Lightning's StochasticWeightAveraging counts in epochs, of which a run of so many iterations has no number.

    Args:
        start: iterations that do not count.
    """
    if start < 0:
        raise ValueError(f"start={start}: must not be negative")

    def average(averaged: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        share = 1 / ((updates - start).clamp(min=0) + 1)  # stays on the device: no waiting for the GPU
        return averaged + (current - averaged) * share

    return average
