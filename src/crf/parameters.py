"""The numbers of the model: two Gaussian kernels, their weights, and how long mean field runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NARROWEST, LARGEST = 1e-3, 1e6  # beyond, float32 no longer tells neighbours on the lattice apart, or overflows
MOST = 10_000  # iterations; it converges in tens


@dataclass(frozen=True)
class Parameters:
    """``k = w1 exp(-|dp|^2 / 2 sxy^2 - |dI|^2 / 2 srgb^2) + w2 exp(-|dp|^2 / 2 sg^2)``, Potts compatibility.

    sxy (pixels, a number or (sy, sx)) and srgb (grey levels of 0..255) are the widths of the bilateral kernel,
    sg (pixels) that of the Gaussian. A kernel of weight 0 is left out. Classes whose largest probability in an
    image is below `prune` receive no messages (they stay in the softmax); 0 treats every class alike. With any other
    value, where labels are all that is asked for, engine=native also leaves pixels alone that two iterations made
    nearly certain (while w1 + w2 is below 16). In every set tried, both changed fewer than one label in 10,000.
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
                raise ValueError(f"sxy has {len(self.sxy)} entries: give one number or (sy, sx)")
            object.__setattr__(self, "sxy", tuple(float(s) for s in self.sxy))  # from YAML it is a list
        for name, widths in {"sxy": (self.sy, self.sx), "srgb": (self.srgb,), "sg": (self.sg,)}.items():
            if wrong := [width for width in widths if not NARROWEST <= width <= LARGEST]:  # nan too
                raise ValueError(
                    f"{name}={wrong[0]} is not a width: it must be finite and greater than 0, "
                    f"from {NARROWEST:g} to {LARGEST:g}"
                )
        for name, weight in {"w1": self.w1, "w2": self.w2}.items():
            if not 0 <= weight <= LARGEST:
                raise ValueError(f"{name}={weight} is not a kernel weight: it must lie between 0 and {LARGEST:g}")
        if not 0 <= self.iterations <= MOST or self.iterations != int(self.iterations):
            raise ValueError(f"iterations={self.iterations}: give a whole number from 0 to {MOST} (10 is usual)")
        object.__setattr__(self, "iterations", int(self.iterations))
        if not 0 <= self.prune < 1:
            raise ValueError(f"prune={self.prune}: give a probability, 0 (exact) <= prune < 1 (0.01 is usual)")

    @property
    def sy(self) -> float:
        return self.sxy[0] if isinstance(self.sxy, Sequence) else self.sxy

    @property
    def sx(self) -> float:
        return self.sxy[1] if isinstance(self.sxy, Sequence) else self.sxy

    def prune_below(self, classes: int) -> float:
        """The threshold in use. A class that is the most probable one somewhere has p >= 1 / classes there, so
        with this bound pruning never drops a label, however many classes there are."""
        return min(self.prune, 1.0 / classes)
