"""What every backbone gives: feature maps of an image that it normalises itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Feature maps at output stride 8, from an RGB image in 0..255.

    Attributes:
        channels: of every map that ``forward`` gives; the first map is the normalised image.
        strides: of every map, in pixels.

    Args:
        mean, std: per-channel RGB statistics, in 0..255, that the weights expect.
        bgr: feed the channels in Caffe's order.
    """

    channels: Sequence[int]
    strides: Sequence[int]
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], bgr: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.bgr = bgr

    def normalize(self, image: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """RGB in 0..255 (uint8 or float) to what the weights expect."""
        normalized = (image.to(self.mean.dtype) - self.mean) / self.std
        return normalized.flip(1) if self.bgr else normalized

    @abstractmethod
    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """The normalised image, padded to 8 k + 1 with the mean pixel, and the maps after it; a head reads the last."""
