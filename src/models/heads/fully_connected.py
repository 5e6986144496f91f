"""VGG's fully connected layers fc6, fc7 and fc8 as convolutions (paper, section 3.2)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.labels import STRIDE
from src.models.dropout import Dropout
from src.models.heads.head import Head, scale_channels


class FCHead(Head):
    """A dilated convolution fc6, a 1x1 convolution fc7 and the classifier fc8.

    The rows of the paper's Table 2 differ in ``kernel``, ``rate`` and ``channels``.

    Args:
        in_channels: channels of every feature map of the backbone; the head reads the last map.
        num_classes: number of classes.
        kernel: kernel size of fc6; 7, 4 or 3 in the paper.
        rate: dilation of fc6.
        channels: channels of fc6 and fc7: 4096, or 1024 for LargeFOV.
        width: factor on ``channels``; below 1, also on ``dropout``, because a slim network needs less of it.
        dropout: probability, for single elements, after fc6 and fc7.
        average_pool: put a 3x3 average pool before fc6, as the released LargeFOV prototxt does (pool5a).
        batch_norm: put BatchNorm after fc6 and fc7, for networks that train from scratch; the paper has none.

    Raises:
        ValueError: if ``kernel`` or ``rate`` is not positive, if rate * (kernel - 1) is odd, so that no padding keeps
            the map's size, or if ``width`` leaves no channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        kernel: int,
        rate: int,
        channels: int,
        width: float = 1.0,
        dropout: float = 0.5,
        average_pool: bool = False,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        for name, value in {"kernel": kernel, "rate": rate}.items():
            if value < 1:
                raise ValueError(f"{name}={value}: must be positive")
        if rate * (kernel - 1) % 2:
            raise ValueError(f"rate={rate} with kernel={kernel}: rate * (kernel - 1) must be even")
        channels = scale_channels(channels, width)
        self.pool5a = nn.AvgPool2d(3, stride=1, padding=1) if average_pool else nn.Identity()
        padding = rate * (kernel - 1) // 2
        self.fc6 = nn.Conv2d(in_channels[-1], channels, kernel, padding=padding, dilation=rate)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.fc8 = nn.Conv2d(channels, num_classes, 1)
        self.norm6 = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.norm7 = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.dropout = Dropout(min(1.0, width) * dropout)  # of single elements, as in Caffe, not of whole channels
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(self.fc8.weight, std=0.01)  # as in the released prototxt
        for name, bias in self.named_parameters():
            if name.startswith("fc") and name.endswith("bias"):
                nn.init.zeros_(bias)

    @property
    def classifier(self) -> nn.Module:
        """The layer fc8, which computes the scores."""
        return self.fc8

    @property
    def field_of_view(self) -> int:
        """The side of fc6's field of view in pixels, as the paper's Table 2 counts it: 224 for VGG's 7x7 at stride 32.

        That is 8 rate (kernel - 1) + 32.
        """
        return STRIDE * self.fc6.dilation[0] * (self.fc6.kernel_size[0] - 1) + 32

    @torch.no_grad()
    def calibrate(self, maps: Sequence[Float[Tensor, "batch _ _ _"]]) -> None:
        """Scale the weights of fc6 and fc7 so that their outputs have a standard deviation of 1.

        Random initialisation assumes inputs of this scale. The features of VGG without BatchNorm are ten times as
        large, so training would diverge. This is LSUV without orthogonal initialisation (Mishkin & Matas, ICLR 2016).

        Args:
            maps: the last feature map of each of some images.
        """
        inputs = [self.pool5a(feature_map) for feature_map in maps]
        for layer in (self.fc6, self.fc7):
            scale = torch.cat([layer(x).flatten() for x in inputs]).std()
            if bool(scale > 0):  # false for NaN too
                layer.weight /= scale
            inputs = [self.relu(layer(x)) for x in inputs]

    def forward(self, features: Sequence[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch classes rows columns"]:
        """Return scores at the size of the last feature map."""
        x = self.pool5a(features[-1])
        x = self.dropout(self.relu(self.norm6(self.fc6(x))))
        x = self.dropout(self.relu(self.norm7(self.fc7(x))))
        return self.fc8(x)
