"""The parameters of the dense CRF: two Gaussian kernels, their weights, the class costs, the number of iterations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

MIN_WIDTH, MAX_VALUE = 1e-3, 1e6  # beyond these, float32 cannot separate neighbours on the lattice, or overflows
MAX_ITERATIONS = 10_000  # mean field converges in tens


@dataclass(frozen=True)
class Parameters:
    """Parameters of a dense CRF with two kernels that share one label compatibility.

    The pairwise kernel is ``k = w1 exp(-|dp|^2 / 2 sxy^2 - |dI|^2 / 2 srgb^2) + w2 exp(-|dp|^2 / 2 sg^2)``, where dp is
    the distance between two pixels and dI the difference of their colours.

    Args:
        w1: weight of the bilateral kernel; 0 leaves the kernel out.
        sxy: spatial width of the bilateral kernel in pixels, one number or (sy, sx).
        srgb: colour width of the bilateral kernel in grey levels of 0..255.
        w2: weight of the Gaussian kernel; 0 leaves the kernel out.
        sg: width of the Gaussian kernel in pixels.
        iterations: mean-field updates.
        prune: classes whose largest probability in an image is below this receive no messages, but stay in the softmax.
            0 is exact. With any other value, if only labels are needed and w1 + w2 is below 16, engine=native also
            stops updating pixels that are nearly certain after two iterations. On every data set tried, both together
            changed fewer than one label in 10,000.
        bias: number to add to the scores of each class; None for zeros. It multiplies the probability of class l by
            exp(bias[l]), and so preserves thin and rare classes, which the pairwise terms would remove.
        compatibility: classes x classes, symmetric: the cost of a pair of classes, as a multiple of
            w1 and w2. None for the Potts model, which is 1 off the diagonal and 0 on it.

    Raises:
        ValueError: if a value is out of range.
    """

    w1: float = 5.0
    sxy: float | tuple[float, float] = 50.0
    srgb: float = 10.0
    w2: float = 3.0
    sg: float = 3.0
    iterations: int = 10
    prune: float = 0.0
    bias: Sequence[float] | None = None
    compatibility: Sequence[Sequence[float]] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.sxy, Sequence):
            if len(self.sxy) != 2:
                raise ValueError(f"sxy={list(self.sxy)}: give one number, or two: [sy,sx]")
            object.__setattr__(self, "sxy", tuple(float(s) for s in self.sxy))  # YAML gives a list
        for name, widths in {"sxy": (self.sy, self.sx), "srgb": (self.srgb,), "sg": (self.sg,)}.items():
            if wrong := [width for width in widths if not MIN_WIDTH <= width <= MAX_VALUE]:  # also catches NaN
                raise ValueError(f"{name}={wrong[0]} is not a width: give a number from {MIN_WIDTH:g} to {MAX_VALUE:g}")
        for name, weight in {"w1": self.w1, "w2": self.w2}.items():
            if not 0 <= weight <= MAX_VALUE:
                raise ValueError(f"{name}={weight} is not a kernel weight: it must lie between 0 and {MAX_VALUE:g}")
        if not 0 <= self.iterations <= MAX_ITERATIONS or self.iterations != int(self.iterations):
            raise ValueError(
                f"iterations={self.iterations}: give a whole number from 0 to {MAX_ITERATIONS} (10 is usual)"
            )
        object.__setattr__(self, "iterations", int(self.iterations))
        if not 0 <= self.prune < 1:
            raise ValueError(f"prune={self.prune}: give a probability, 0 (exact) <= prune < 1 (0.01 is usual)")
        if self.bias is not None:
            object.__setattr__(self, "bias", finite_row("bias", self.bias))
        if self.compatibility is not None:
            rows = tuple(finite_row("compatibility", row) for row in nonempty_list("compatibility", self.compatibility))
            object.__setattr__(self, "compatibility", rows)
            if any(len(row) != len(rows) for row in rows):
                raise ValueError(
                    f"compatibility: must be square, with as many entries in each row as it has rows ({len(rows)})"
                )
            if any(rows[i][j] != rows[j][i] for i in range(len(rows)) for j in range(i)):
                raise ValueError("compatibility: must be symmetric, because the cost of a pair of classes has no order")
            if self.bias is not None and len(self.bias) != len(rows):
                raise ValueError(
                    f"bias and compatibility are for different numbers of classes, {len(self.bias)} and {len(rows)}"
                )

    def check_classes(self, classes: int) -> None:
        """Check that ``bias`` and ``compatibility`` fit the number of classes.

        Raises:
            ValueError: if one is for another number of classes.
        """
        for name, values in {"bias": self.bias, "compatibility": self.compatibility}.items():
            if values is not None and len(values) != classes:
                raise ValueError(
                    f"{name} is for {len(values)} classes, the scores have {classes}: choose a CRF without it, or one "
                    "learned for these classes"
                )

    @property
    def sy(self) -> float:
        """The vertical width of the bilateral kernel in pixels."""
        return self.sxy[0] if isinstance(self.sxy, Sequence) else self.sxy

    @property
    def sx(self) -> float:
        """The horizontal width of the bilateral kernel in pixels."""
        return self.sxy[1] if isinstance(self.sxy, Sequence) else self.sxy

    @cached_property
    def affinity(self) -> Float[Tensor, "classes classes"] | None:
        """Entry (k, l) is how much class l adds to the message of class k, in float64; None for the identity (Potts).

        It is the negative cost, shifted so that the smallest entry of each column is 0. The shift adds the same to the
        messages of all classes at a pixel, so Q does not change, and messages are not negative.
        """
        if self.compatibility is None:
            return None
        costs = torch.tensor(self.compatibility, dtype=torch.float64)
        return costs.amax(0) - costs

    @cached_property
    def message_bound(self) -> float:
        """The largest message that a class can receive, which it does where all neighbours agree."""
        return (self.w1 + self.w2) * (1.0 if self.affinity is None else float(self.affinity.max()))

    def log_threshold(self, classes: int) -> Float[Tensor, "classes"] | None:
        """Return the log probability below which each class is pruned, in float64; None if nothing is pruned.

        With a compatibility matrix, a class can receive messages from other classes. It is pruned only if even the
        largest such message leaves its probability below ``prune``.
        """
        if self.prune <= 0:
            return None
        threshold = torch.full((classes,), math.log(self.prune_below(classes)), dtype=torch.float64)
        if self.affinity is None:
            return threshold
        from_others = self.affinity - torch.diag(self.affinity.diagonal())
        return threshold - (self.w1 + self.w2) * from_others.amax(1)

    def prune_below(self, classes: int) -> float:
        """Return the pruning threshold for a number of classes.

        The most probable class of a pixel has p >= 1 / classes. A threshold of at most 1 / classes therefore never
        prunes a class that is the most probable one somewhere.
        """
        return min(self.prune, 1.0 / classes)


def nonempty_list(name: str, value: object) -> Sequence:
    """Return the value of a parameter, or raise a ValueError unless it is a list with entries."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ValueError(f"{name}={value}: give a list, with an entry for each class")
    return value


def finite_row(name: str, row: object) -> tuple[float, ...]:
    """Return the entries of a list as floats, or raise a ValueError unless all are numbers in range."""
    entries = nonempty_list(name, row)
    if not all(isinstance(entry, (int, float)) and abs(entry) <= MAX_VALUE for entry in entries):  # also catches NaN
        raise ValueError(f"{name}={list(entries)}: give numbers from {-MAX_VALUE:g} to {MAX_VALUE:g}")
    return tuple(float(entry) for entry in entries)
