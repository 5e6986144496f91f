"""The interface of backbones, and the normalisation of their input."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.system.errors import UserError
from src.system.files import expand_path


class Normalization(NamedTuple):
    """The normalisation that weights were trained with: statistics of RGB in 0..255, and the order of the channels."""

    mean: Sequence[float]
    std: Sequence[float]
    bgr: bool


class WeightFile(NamedTuple):
    """A file of weights that is fetched: its addresses, and the checksum of its content (see ``download.fetch``)."""

    urls: Sequence[str]
    checksum: str


CAFFE = Normalization((122.675, 116.669, 104.008), (1.0, 1.0, 1.0), bgr=True)  # the paper's
TORCHVISION = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), bgr=False)
CAFFE_NAMES = ("none", "caffe", "imagenet_features")
CAFFE_SUFFIXES = (".caffemodel", ".h5", ".hdf5")


def normalization_of(weights: str) -> Normalization:
    """Return the normalisation that weights expect, by the name of the weights or their file; Caffe's for "none"."""
    caffe = weights in CAFFE_NAMES or Path(weights).suffix.lower() in CAFFE_SUFFIXES
    return CAFFE if caffe or Path(weights).name.startswith("vgg16_features") else TORCHVISION


def torchvision_file(name: str) -> WeightFile:
    """Return torchvision's file of this name, which ends with the first digits of the file's SHA-256."""
    digest = name.rpartition("-")[2].removesuffix(".pth")
    return WeightFile([f"https://download.pytorch.org/models/{name}"], f"sha256:{digest}")


class WeightsError(UserError):
    """Raised for pretrained weights that a network cannot load; the message gives the file and the remedy."""

    part = "backbone"


class Backbone(nn.Module, ABC):
    """Turns an image in RGB, 0..255, into feature maps at output stride 8. It normalises the image itself.

    Args:
        weights: "none", a name that ``weight_file`` knows, or the path of a file. The constructor loads nothing;
            ``load_pretrained`` does.
        mean, std: statistics of each channel, RGB in 0..255; None for those that the weights expect.
        bgr: reverse the channels, as Caffe does; None for the order that the weights expect.

    Attributes:
        channels: channels of every map that ``forward`` returns; the first map is the normalised image.
        strides: stride of every map in pixels.
        mean, std: buffers of shape (3, 1, 1), in the order of the network's channels.
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
        self.weights = str(expand_path(weights))
        default = normalization_of(weights)
        self.bgr = default.bgr if bgr is None else bgr
        order = -1 if self.bgr else 1
        # Buffers are saved with the weights, so that a checkpoint says which normalisation its weights expect.
        for name, values in (("mean", mean or default.mean), ("std", std or default.std)):
            self.register_buffer(name, torch.tensor(values[::order], dtype=torch.float32).view(3, 1, 1))

    def normalize(self, image: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Return images in RGB, 0..255, uint8 or float, normalised as the weights expect."""
        return ((image.flip(1) if self.bgr else image).to(self.mean.dtype) - self.mean) / self.std

    @abstractmethod
    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Return the feature maps of images in RGB, 0..255, uint8 or float, of any size.

        The first map is the normalised image, padded with the mean pixel to sides of 8k + 1; the others follow in
        the order of the layers.
        """

    def weight_file(self) -> WeightFile:
        """Return the file to fetch for ``weights``, such as torchvision's of this network for "imagenet".

        Raises:
            WeightsError: if there is none.
        """
        raise WeightsError(f"weights={self.weights}: no weights are known for this backbone; set weights=none")

    def load_torchvision(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of a classifier of torchvision.

        Args:
            state: its tensors, by torchvision's names.

        Raises:
            UserError: if a tensor is missing or has another shape; the message names the first.
        """
        raise UserError("this backbone cannot read such a file; set weights=none")


@torch.no_grad()
def copy_weight(target: Tensor | None, source: Tensor, name: str) -> None:
    """Copy the values of ``source`` into ``target``.

    Args:
        name: of the tensor, for the message.

    Raises:
        UserError: if the shapes differ, or the network has no such tensor (None).
    """
    if target is None or target.shape != source.shape:
        wanted = "nothing" if target is None else tuple(target.shape)
        raise UserError(f"{name} has shape {tuple(source.shape)}, the network wants {wanted}")
    target.copy_(source)
