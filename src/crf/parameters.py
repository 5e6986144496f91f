"""The parameters of the dense CRF: two Gaussian kernels, their weights, and the number of iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIN_WIDTH, MAX_VALUE = 1e-3, 1e6  # outside, float32 cannot separate neighbours on the lattice, or overflows
MAX_ITERATIONS = 10_000  # mean field converges in tens


@dataclass(frozen=True)
class Parameters:
    """Parameters of a dense CRF with Potts compatibility and two kernels.

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
            0 prunes nothing. With any other value, where only labels are asked for and w1 + w2 is below 16,
            engine=native also stops updating pixels that are nearly certain after two iterations. On every data set
            tried, both together changed fewer than one label in 10,000.

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

    def __post_init__(self) -> None:
        if isinstance(self.sxy, Sequence):
            if len(self.sxy) != 2:
                raise ValueError(f"sxy={list(self.sxy)}: has {len(self.sxy)} entries; give one number or (sy, sx)")
            object.__setattr__(self, "sxy", tuple(float(s) for s in self.sxy))  # YAML gives a list
        for name, widths in {"sxy": (self.sy, self.sx), "srgb": (self.srgb,), "sg": (self.sg,)}.items():
            if wrong := [width for width in widths if not MIN_WIDTH <= width <= MAX_VALUE]:  # also catches NaN
                raise ValueError(
                    f"{name}={wrong[0]} is not a width: it must be finite and greater than 0, "
                    f"from {MIN_WIDTH:g} to {MAX_VALUE:g}"
                )
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

    @property
    def sy(self) -> float:
        """The vertical width of the bilateral kernel in pixels."""
        return self.sxy[0] if isinstance(self.sxy, Sequence) else self.sxy

    @property
    def sx(self) -> float:
        """The horizontal width of the bilateral kernel in pixels."""
        return self.sxy[1] if isinstance(self.sxy, Sequence) else self.sxy

    def prune_below(self, classes: int) -> float:
        """Return the pruning threshold for a number of classes.

        The most probable class of a pixel has p >= 1 / classes there. With this bound, pruning never drops a class that
        is the most probable one somewhere.
        """
        return min(self.prune, 1.0 / classes)
