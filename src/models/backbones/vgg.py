"""VGG with dilation at output stride 8, the paper's backbone (section 3.1)."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.models.backbones.backbone import Backbone, WeightFile, WeightsError, copy_weight, torchvision_file
from src.models.geometry import pad_to_grid
from src.system.counted import counted
from src.system.errors import UserError

# Simonyan & Zisserman 2015, table 1: numbers of 3x3 convolutions in each of the five stages.
VGG11, VGG13, VGG16, VGG19 = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
STAGE_CHANNELS = (64, 128, 256, 512, 512)
# torchvision's files by (convolutions, BatchNorm); a name ends with the first digits of the file's SHA-256.
IMAGENET: dict[tuple[tuple[int, ...], bool], str] = {
    (VGG11, False): "vgg11-8a719046.pth",
    (VGG13, False): "vgg13-19584684.pth",
    (VGG16, False): "vgg16-397923af.pth",
    (VGG19, False): "vgg19-dcbb9e9d.pth",
    (VGG11, True): "vgg11_bn-6002323d.pth",
    (VGG13, True): "vgg13_bn-abd245e5.pth",
    (VGG16, True): "vgg16_bn-6c64b313.pth",
    (VGG19, True): "vgg19_bn-c79401a0.pth",
}
IMAGENET_FEATURES = "vgg16_features-amdegroot-88682ab5.pth"  # Caffe's normalisation, no fully connected layers
# The Caffe networks of Simonyan & Zisserman, which the paper starts from, as Keras distributes and checks them
# (keras/src/applications/vgg16.py and vgg19.py). The originals at www.robots.ox.ac.uk have no published checksum of
# their authors, no HTTPS, and are often out of reach.
KERAS = (
    "https://storage.googleapis.com/tensorflow/keras-applications/{0}/{0}_weights_tf_dim_ordering_tf_kernels.h5",
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.1/{0}_weights_tf_dim_ordering_tf_kernels.h5",
)
CAFFE: dict[tuple[int, ...], WeightFile] = {
    VGG16: WeightFile([url.format("vgg16") for url in KERAS], "md5:64373286793e3c8b2b4e3219cbf3544b"),
    VGG19: WeightFile([url.format("vgg19") for url in KERAS], "md5:cbe5617147190e668d6c5d5026f83318"),
}


class VGG(Backbone):
    """The convolutions of VGG; pool4 and pool5 have stride 1, and conv5 has dilation 2.

    Pools are 3x3 with padding 1, and sizes are rounded up, as in the released LargeFOV prototxt:
    321 -> 161 -> 81 -> 41.

    Args:
        convs: number of 3x3 convolutions in each of the five stages.
        width: factor on the channels of every layer; values below 1 make slim networks for CPUs.
        batch_norm: put BatchNorm after every convolution.
        pool_kernel: kernel size of the pools: 3 as in the LargeFOV prototxt, or 2 as in VGG.
        weights: "none", "caffe" (those that the paper starts from), "imagenet" (torchvision's), "imagenet_features"
            (torchvision's VGG-16 with Caffe's normalisation), or the path of a .pth file of torchvision, a .caffemodel
            file, or an HDF5 file of Keras (.h5).
        mean, std, bgr: see ``Backbone``; in the paper, ImageNet's mean, no division and BGR.

    Raises:
        ValueError: if ``convs`` does not have five numbers, ``width`` leaves a stage without channels, or
            ``pool_kernel`` is neither 2 nor 3.
    """

    def __init__(
        self,
        convs: Sequence[int] = VGG16,
        width: float = 1.0,
        batch_norm: bool = False,
        pool_kernel: int = 3,
        weights: str = "none",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr: bool | None = None,
    ) -> None:
        super().__init__(weights, mean, std, bgr)
        if len(convs) != len(STAGE_CHANNELS):
            raise ValueError(f"convs={list(convs)}: must have {len(STAGE_CHANNELS)} numbers, one for each stage")
        channels = [round(c * width) for c in STAGE_CHANNELS]
        if min(channels) < 1:
            raise ValueError(f"width={width}: leaves a stage without channels; the smallest is 1/64")
        if pool_kernel not in (2, 3):
            raise ValueError(f"pool_kernel={pool_kernel}: must be 2 or 3")
        self.convs, self.width, self.batch_norm = tuple(convs), width, batch_norm
        self.channels = (3, *channels)
        self.strides = (1, 2, 4, 8, 8, 8)

        self.stages = nn.ModuleList()
        previous = 3
        for stage, (count, out_channels) in enumerate(zip(convs, channels, strict=True), start=1):
            layers = []
            for _ in range(count):
                layers += conv3x3(previous, out_channels, dilation=2 if stage == 5 else 1, batch_norm=batch_norm)
                previous = out_channels
            # The maximum of a window is the same before and after a ReLU, and after the pool there are fewer values.
            layers.insert(-1, pool(pool_kernel, stride=2 if stage <= 3 else 1))
            self.stages.append(nn.Sequential(*layers))

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Return the normalised, padded image and the outputs of pool1 to pool5."""
        features = [pad_to_grid(self.normalize(image))]  # after normalisation, 0 is the mean pixel
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features

    def convs_by_name(self) -> dict[str, nn.Conv2d]:
        """Return the convolutions by Caffe's names: conv1_1 to conv5_3."""
        return {
            f"conv{number}_{index}": conv
            for number, stage in enumerate(self.stages, start=1)
            for index, conv in enumerate((m for m in stage.modules() if isinstance(m, nn.Conv2d)), start=1)
        }

    def weight_file(self) -> WeightFile:
        """Return the file of ``weights``: torchvision's of each VGG, or Caffe's of VGG-16 and VGG-19."""
        if self.weights == "caffe" and self.convs in CAFFE and not self.batch_norm:
            file = CAFFE[self.convs]
        elif self.weights == "imagenet_features" and (self.convs, self.batch_norm) == (VGG16, False):
            file = torchvision_file(IMAGENET_FEATURES)
        elif self.weights == "imagenet" and (self.convs, self.batch_norm) in IMAGENET:
            file = torchvision_file(IMAGENET[self.convs, self.batch_norm])
        else:
            norm = " with BatchNorm" if self.batch_norm else ""
            raise WeightsError(f"weights={self.weights}: there is no file for convs={list(self.convs)}{norm}")
        if self.width != 1:
            raise WeightsError(f"weights={self.weights}: needs width=1, not {self.width}; or set weights=none")
        return file

    def load_torchvision(self, state: Mapping[str, Tensor]) -> None:
        """Load the convolutions, and BatchNorm if there is any, of torchvision's VGG."""
        # torchvision numbers all layers in their order: features.0 is conv1_1; a BatchNorm follows its convolution.
        layers = [m for m in self.stages.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
        found = sorted({int(name.split(".")[1]) for name in state if name.startswith("features.")})
        if len(found) != len(layers):
            raise UserError(
                f"holds {counted(len(found), 'layer')} with weights, the network has {len(layers)}; "
                "choose the backbone that the file was made for"
            )
        bias = torch.zeros(())
        for number, layer in zip(found, layers, strict=True):
            name = f"features.{number}"
            copy_weight(layer.weight, state[f"{name}.weight"], f"{name}.weight")
            if isinstance(layer, nn.BatchNorm2d):
                copy_weight(layer.bias, state[f"{name}.bias"], f"{name}.bias")
                copy_weight(layer.running_var, state[f"{name}.running_var"], f"{name}.running_var")
                # torchvision's convolutions have a bias before BatchNorm, these have none: subtract it from the mean.
                copy_weight(layer.running_mean, state[f"{name}.running_mean"] - bias, f"{name}.running_mean")
            elif layer.bias is not None:
                copy_weight(layer.bias, state[f"{name}.bias"], f"{name}.bias")
            else:
                bias = state[f"{name}.bias"]


def conv3x3(in_channels: int, out_channels: int, dilation: int, batch_norm: bool) -> list[nn.Module]:
    """Return a 3x3 convolution with He initialisation, BatchNorm if wanted, and ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=not batch_norm)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    norm: list[nn.Module] = [nn.BatchNorm2d(out_channels)] if batch_norm else []
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return [conv, *norm, nn.ReLU(inplace=True)]


def pool(kernel: int, stride: int) -> nn.Module:
    """Return a max-pool that keeps corners aligned: a side of ``stride * k + 1`` becomes ``k + 1``."""
    if kernel == 3:
        return nn.MaxPool2d(3, stride, padding=1, ceil_mode=True)
    if stride == 2:
        return nn.MaxPool2d(2, 2, ceil_mode=True)
    # A padded zero changes no maximum, because a ReLU follows.
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1))
