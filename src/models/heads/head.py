"""The interface of heads."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class Head(nn.Module, ABC):
    """Turns a backbone's feature maps into a score map."""

    @property
    @abstractmethod
    def classifier(self) -> nn.Module:
        """The layer that computes the scores; the paper trains it at ten times the learning rate of the others."""

    @property
    def branches(self) -> Sequence[nn.Module]:
        """Layers that are added to a network already trained, with learning rates of their own; none by default."""
        return ()

    @abstractmethod
    def forward(self, features: Sequence[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch classes rows columns"]:
        """Return scores (logits) at the size of the last feature map, or at that of the padded image (8k + 1).

        Args:
            features: the backbone's feature maps, finest first; the first is the normalised image.
        """


def scale_channels(channels: int, width: float) -> int:
    """Return the channels of a network that is ``width`` times as wide.

    Raises:
        ValueError: if none are left.
    """
    if round(channels * width) < 1:
        raise ValueError(f"channels={channels} with width={width}: leaves the head without channels")
    return round(channels * width)
