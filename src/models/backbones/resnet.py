"""ResNet with dilation at output stride 8 (He et al. 2016, dilated as in DeepLab V2). The names are torchvision's."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.models.backbones.backbone import Backbone, WeightFile, WeightsError, copy_weight, torchvision_file
from src.models.geometry import pad_to_grid
from src.system.errors import UserError

EXPANSION = 4  # a block's output has four times the channels of its inner convolutions
IMAGENET = {(3, 4, 6, 3): "resnet50-0676ba61.pth", (3, 4, 23, 3): "resnet101-63fe2227.pth"}


class ResNet(Backbone):
    """ResNet-50 or a deeper one; layer3 and layer4 have stride 1 and dilation 2 and 4.

    Args:
        blocks: number of bottlenecks in each of the four layers.
        width: factor on the channels of every layer.
        weights, mean, std, bgr: see ``Backbone``.

    Raises:
        ValueError: if ``blocks`` does not have four numbers, or ``width`` leaves a layer without channels.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 4, 6, 3),
        width: float = 1.0,
        weights: str = "none",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr: bool | None = None,
    ) -> None:
        super().__init__(weights, mean, std, bgr)
        if len(blocks) != 4:
            raise ValueError(f"blocks={list(blocks)}: must have 4 numbers, one for each layer")
        if (first := round(64 * width)) < 1:
            raise ValueError(f"width={width}: leaves a layer without channels; the smallest is 1/64")
        self.blocks, self.width = tuple(blocks), width
        outputs = [first * EXPANSION * 2**i for i in range(4)]
        self.channels = (3, first, *outputs)
        self.strides = (1, 2, 4, 8, 8, 8)

        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = make_layer(first, outputs[0], blocks[0])
        self.layer2 = make_layer(outputs[0], outputs[1], blocks[1], stride=2)
        self.layer3 = make_layer(outputs[1], outputs[2], blocks[2], dilation=2)
        self.layer4 = make_layer(outputs[2], outputs[3], blocks[3], dilation=4)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Return the normalised, padded image, the first convolution's map and the outputs of layer1 to layer4."""
        padded = pad_to_grid(self.normalize(image))
        stem = self.relu(self.bn1(self.conv1(padded)))
        features = [padded, stem]
        x = self.maxpool(stem)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features.append(x := stage(x))
        return features

    def weight_file(self) -> WeightFile:
        """Return torchvision's file; there is one for ResNet-50 and one for ResNet-101."""
        if self.weights != "imagenet" or self.blocks not in IMAGENET or self.width != 1:
            raise WeightsError(
                f"weights={self.weights}: only imagenet has a file, for ResNet-50 and ResNet-101 with width=1; "
                "or set weights=none"
            )
        return torchvision_file(IMAGENET[self.blocks])

    def load_torchvision(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of torchvision's ResNet, which has the same names."""
        for name, target in self.state_dict().items():
            if name in ("mean", "std") or name.endswith("num_batches_tracked"):
                continue
            if name not in state:
                raise UserError(f"has no tensor {name}; choose the backbone that the file was made for")
            copy_weight(target, state[name], name)


class Bottleneck(nn.Module):
    """A residual block of 1x1, 3x3 and 1x1 convolutions; the 3x3 one has the stride, as in torchvision."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        inner = out_channels // EXPANSION
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, x: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch _ _ _"]:
        """Return the block's feature map."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


def make_layer(in_channels: int, out_channels: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return bottlenecks in sequence; the first changes stride and channels, and has the previous layer's dilation."""
    first = Bottleneck(in_channels, out_channels, stride, dilation=max(1, dilation // 2))
    return nn.Sequential(first, *(Bottleneck(out_channels, out_channels, 1, dilation) for _ in range(blocks - 1)))
