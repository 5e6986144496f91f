"""VGG's fc6, fc7 and fc8 as convolutions: every row of the paper's Table 2."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from src.models.dropout import Dropout
from src.models.geometry import STRIDE
from src.models.heads.head import Head


class FCHead(Head):
    """fc6 with holes, fc7 and the classifier fc8; all rows of Table 2 are this class with other numbers.

    Args:
        in_channels: channels of every feature map of the backbone; the last one is read.
        num_classes: score maps to give.
        kernel: side of fc6: 7, 4 or 3.
        rate: dilation of fc6. With padding rate (kernel - 1) / 2 the score map keeps its size.
        channels: channels of fc6 and fc7: 4096, or 1024 for LargeFOV.
        width: factor on ``channels`` and on ``dropout``: a slim backbone gets a slim head, with little to spare.
        dropout: probability, element by element, after fc6 and fc7.
        average_pool: the released LargeFOV prototxt has a 3x3 average pool (pool5a) before fc6.
        batch_norm: after fc6 and fc7, for networks that train from nothing; the paper has none.

    Raises:
        ValueError: if rate (kernel - 1) is odd: no padding would keep the size.
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
        if round(channels * width) < 1:
            raise ValueError(f"channels={channels} with width={width}: leaves fc6 without channels")
        channels = round(channels * width)
        self.pool5a = nn.AvgPool2d(3, stride=1, padding=1) if average_pool else nn.Identity()
        padding = rate * (kernel - 1) // 2
        self.fc6 = nn.Conv2d(in_channels[-1], channels, kernel, padding=padding, dilation=rate)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.fc8 = nn.Conv2d(channels, num_classes, 1)
        self.norm6 = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.norm7 = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.dropout = Dropout(min(1.0, width) * dropout)  # element by element as in Caffe, not whole maps
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(self.fc8.weight, std=0.01)  # the released prototxt's Gaussian
        for name, bias in self.named_parameters():
            if name.startswith("fc") and name.endswith("bias"):
                nn.init.zeros_(bias)

    @property
    def classifier(self) -> nn.Module:
        return self.fc8

    @property
    def field_of_view(self) -> int:
        """Pixels that fc6 sees as the paper counts them (Table 2): VGG's 7x7 on stride 32 is 224."""
        return STRIDE * self.fc6.dilation[0] * (self.fc6.kernel_size[0] - 1) + 32

    def forward(self, features: Sequence[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch classes rows columns"]:
        x = self.pool5a(features[-1])
        x = self.dropout(self.relu(self.norm6(self.fc6(x))))
        x = self.dropout(self.relu(self.norm7(self.fc7(x))))
        return self.fc8(x)
