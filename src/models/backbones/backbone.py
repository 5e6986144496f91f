"""What every backbone gives: feature maps of an image that it normalises itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.errors import UserError


class Normalization(NamedTuple):
    """RGB statistics in 0..255 and the order of channels that weights were trained with."""

    mean: Sequence[float]
    std: Sequence[float]
    bgr: bool


CAFFE = Normalization((122.675, 116.669, 104.008), (1.0, 1.0, 1.0), bgr=True)  # the paper's
TORCHVISION = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), bgr=False)


def normalization_of(weights: str) -> Normalization:
    """What the weights of that name or file expect; the paper's where a network starts from none."""
    if weights == "imagenet":
        return TORCHVISION
    caffe = weights in ("none", "imagenet_features") or weights.endswith(".caffemodel")
    return CAFFE if caffe or Path(weights).name.startswith("vgg16_features") else TORCHVISION


class Backbone(nn.Module, ABC):
    """Feature maps at output stride 8, from an RGB image in 0..255.

    Attributes:
        channels: of every map that ``forward`` gives; the first map is the normalised image.
        strides: of every map, in pixels.
        weights: where the weights come from; ``pretrained.load_pretrained`` reads it, the constructor loads nothing.

    Args:
        weights: "none", "imagenet" or the path of a file.
        mean, std: per-channel RGB statistics, in 0..255; None follows the weights.
        bgr: feed the channels in Caffe's order; None follows the weights.
    """

    channels: Sequence[int]
    strides: Sequence[int]
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        weights: str = "none",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr: bool | None = None,
    ) -> None:
        super().__init__()
        self.weights = weights
        default = normalization_of(weights)
        self.bgr = default.bgr if bgr is None else bgr
        order = -1 if self.bgr else 1
        # Saved with the weights, in the order of the network's channels: whoever loads them can see what they expect.
        for name, values in (("mean", mean or default.mean), ("std", std or default.std)):
            self.register_buffer(name, torch.tensor(values[::order], dtype=torch.float32).view(3, 1, 1))

    def normalize(self, image: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """RGB in 0..255 (uint8 or float) to what the weights expect."""
        return ((image.flip(1) if self.bgr else image).to(self.mean.dtype) - self.mean) / self.std

    @abstractmethod
    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """The normalised image, padded to 8 k + 1 with the mean pixel, and the maps after it; a head reads the last."""

    def imagenet_file(self) -> str:
        """Name of torchvision's file that fits, such as "vgg16-397923af.pth".

        Raises:
            UserError: if there is none.
        """
        raise UserError(f"weights={self.weights}: no weights are known for this backbone; set weights=none")

    def load_torchvision(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a classifier of torchvision, by its names.

        Raises:
            UserError: naming the first tensor that is missing or has another shape.
        """
        raise UserError("this backbone cannot read such a file; set weights=none")


@torch.no_grad()
def copy_weight(target: Tensor | None, source: Tensor, name: str) -> None:
    """Put ``source`` into ``target``, which must have its shape.

    Raises:
        UserError: naming both shapes.
    """
    if target is None or target.shape != source.shape:
        wanted = "nothing" if target is None else tuple(target.shape)
        raise UserError(f"{name} has shape {tuple(source.shape)}, the network wants {wanted}")
    target.copy_(source)
