"""What every head gives: a score map, from a backbone's feature maps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class Head(nn.Module, ABC):
    """Turns a backbone's feature maps into a score map."""

    @property
    @abstractmethod
    def classifier(self) -> nn.Module:
        """The layer that gives the scores; the paper trains it ten times faster than the rest."""

    @property
    def branches(self) -> Sequence[nn.Module]:
        """Layers added to a network that is trained already: parameter groups of their own. None by default."""
        return ()

    @abstractmethod
    def forward(self, features: Sequence[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch classes rows columns"]:
        """Scores at the last map's size, or at the image's padded one (8 k + 1)."""
