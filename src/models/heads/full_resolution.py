"""A head that up-samples its features before it classifies them."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from src.labels import STRIDE
from src.models.dropout import Dropout
from src.models.geometry import resize_aligned
from src.models.heads.head import Head, scale_channels


class FullResolutionHead(Head):
    """A dilated 3x3 and several 1x1 convolutions at stride 8, bilinear up-sampling by 8, and a 3x3 classifier.

    The classifier at full resolution gives sharper edges, but takes 64 times the memory.

    Args:
        in_channels: channels of every feature map of the backbone; the head reads the last map.
        num_classes: number of classes.
        rate: dilation of the first convolution.
        channels: channels of every layer but the classifier.
        width: factor on ``channels``; below 1, also on ``dropout``.
        layers: convolutions before the up-sampling, the first one included.
        dropout: probability, for single elements, before the up-sampling.
        batch_norm: put BatchNorm after each of these convolutions.

    Raises:
        ValueError: if ``layers`` or ``rate`` is not positive, or ``width`` leaves no channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        rate: int = 4,
        channels: int = 512,
        width: float = 1.0,
        layers: int = 3,
        dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        for name, value in {"layers": layers, "rate": rate}.items():
            if value < 1:
                raise ValueError(f"{name}={value}: must be positive")
        channels = scale_channels(channels, width)
        self.layers = nn.Sequential()
        before = in_channels[-1]
        for index in range(layers):
            conv = nn.Conv2d(before, channels, 1, bias=not batch_norm)
            if index == 0:
                conv = nn.Conv2d(before, channels, 3, padding=rate, dilation=rate, bias=not batch_norm)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            self.layers.extend([conv, *([nn.BatchNorm2d(channels)] if batch_norm else []), nn.ReLU(inplace=True)])
            before = channels
        self.dropout = Dropout(min(1.0, width) * dropout)
        self.score = nn.Conv2d(channels, num_classes, 3, padding=1)
        nn.init.normal_(self.score.weight, std=0.01)
        assert self.score.bias is not None
        nn.init.zeros_(self.score.bias)

    @property
    def classifier(self) -> nn.Module:
        """The 3x3 convolution that computes the scores."""
        return self.score

    def forward(self, features: Sequence[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch classes rows columns"]:
        """Return the scores of every pixel of the padded image."""
        x = self.dropout(self.layers(features[-1]))
        size = [STRIDE * (side - 1) + 1 for side in x.shape[-2:]]
        return self.score(resize_aligned(x, size))
