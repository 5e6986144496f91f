"""VGG with holes: the paper's backbone (section 3.1), output stride 8."""

from collections.abc import Sequence

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.models.backbone import Backbone
from src.models.geometry import pad_to_grid

# Simonyan & Zisserman 2015, table 1: how many 3x3 convolutions stand in each of the five stages.
VGG11, VGG13, VGG16, VGG19 = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
STAGE_CHANNELS = (64, 128, 256, 512, 512)


class VGG(Backbone):
    """The convolutions of VGG, atrous: pool4 and pool5 keep stride 1 and conv5 has dilation 2.

    Pools are 3x3 with padding 1 and round up, as in the released LargeFOV prototxt: 321 -> 161 -> 81 -> 41.

    Args:
        convs: 3x3 convolutions in each of the five stages.
        width: factor on every channel count; below 1 it makes the slim networks for CPUs.
        batch_norm: put BatchNorm after every convolution.
        pool_kernel: 3 (LargeFOV prototxt); 2 is the plain VGG pool of the tutorials.
        mean, std, bgr: see ``Backbone``; the paper subtracts ImageNet's mean, divides by nothing and is BGR.

    Raises:
        ValueError: if ``convs`` does not name five stages or ``width`` leaves a stage without channels.
    """

    def __init__(
        self,
        convs: Sequence[int] = VGG16,
        width: float = 1.0,
        batch_norm: bool = False,
        pool_kernel: int = 3,
        mean: Sequence[float] = (122.675, 116.669, 104.008),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        bgr: bool = True,
    ) -> None:
        super().__init__(mean, std, bgr)
        if len(convs) != len(STAGE_CHANNELS):
            raise ValueError(f"backbone.convs must name {len(STAGE_CHANNELS)} stages, not {list(convs)}")
        channels = [round(c * width) for c in STAGE_CHANNELS]
        if min(channels) < 1:
            raise ValueError(f"backbone.width={width} leaves a stage without channels; the smallest is 1/64")
        if pool_kernel not in (2, 3):
            raise ValueError(f"backbone.pool_kernel must be 2 or 3, not {pool_kernel}")
        self.channels = (3, *channels)
        self.strides = (1, 2, 4, 8, 8, 8)

        self.stages = nn.ModuleList()
        previous = 3
        for stage, (count, out_channels) in enumerate(zip(convs, channels, strict=True), start=1):
            layers = []
            for _ in range(count):
                layers += conv3x3(previous, out_channels, dilation=2 if stage == 5 else 1, batch_norm=batch_norm)
                previous = out_channels
            layers.append(pool(pool_kernel, stride=2 if stage <= 3 else 1))
            self.stages.append(nn.Sequential(*layers))

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """The normalised image and the output of pool1 to pool5; the last one is what a head reads."""
        features = [pad_to_grid(self.normalize(image))]  # padding with 0 here is padding with the mean pixel
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


def conv3x3(in_channels: int, out_channels: int, dilation: int, batch_norm: bool) -> list[nn.Module]:
    """Convolution (He initialisation, which trains from scratch), BatchNorm where wanted, ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=not batch_norm)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    norm: list[nn.Module] = [nn.BatchNorm2d(out_channels)] if batch_norm else []
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return [conv, *norm, nn.ReLU(inplace=True)]


def pool(kernel: int, stride: int) -> nn.Module:
    """Max-pool that keeps the corners where they are: ``stride * k + 1`` pixels give ``k + 1``."""
    if kernel == 3:
        return nn.MaxPool2d(3, stride, padding=1, ceil_mode=True)
    if stride == 2:
        return nn.MaxPool2d(2, 2, ceil_mode=True)
    # After a ReLU a zero in the padding is never larger than a neighbour.
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1))
