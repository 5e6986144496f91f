"""Multi-scale prediction (MSc; paper, section 4.3): scores also from the image and from pool1 to pool4."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from src.models.dropout import Dropout
from src.models.geometry import grid_stride, resize_aligned
from src.models.heads.head import Head, scale_channels


class MSc(Head):
    """Another head plus a branch on each of the finer feature maps; the result is the sum of their scores.

    The paper concatenates the features of the head and the branches before one classifier. Adding the scores of
    separate classifiers is equivalent; the released Caffe files do this.

    In training, the branches have strides 8, 4, 2, 1, 1, so that all score maps have stride 8. At test time, their
    stride is 1, and all score maps are up-sampled to the image's size before they are added, as in the released files.
    Both give the same scores at pixels (8i, 8j). On a head with scores at full resolution, training works as at test
    time.

    Args:
        in_channels: channels of every feature map of the backbone; every map but the last gets a branch.
        num_classes: number of classes.
        trunk: builds the head on the last map, from ``in_channels`` and ``num_classes``.
        channels: channels of both hidden layers of a branch.
        width: factor on ``channels``; below 1, also on ``dropout``, as in ``FCHead``.
        dropout: probability, for single elements, after both hidden layers of a branch.
        std: standard deviation of the initial weights of each branch's hidden layers, finest map first; that of its
            classifier is 0.01.
        full_resolution: up-sample at test time as described above; False keeps stride 8: faster, but less sharp.

    Raises:
        ValueError: if ``std`` does not have a number for each branch, or ``width`` leaves no channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        trunk: Callable[[Sequence[int], int], Head],
        channels: int = 128,
        width: float = 1.0,
        dropout: float = 0.5,
        std: Sequence[float] = (0.001, 0.001, 0.001, 0.001, 0.005),
        full_resolution: bool = True,
    ) -> None:
        super().__init__()
        if len(std) != len(in_channels) - 1:
            raise ValueError(
                f"std={list(std)}: must have {len(in_channels) - 1} numbers, "
                "one for each map of the backbone but the last"
            )
        channels = scale_channels(channels, width)
        self.trunk = trunk(in_channels, num_classes)
        self.scales = nn.ModuleList(
            Branch(before, channels, num_classes, min(1.0, width) * dropout, deviation)
            for before, deviation in zip(in_channels[:-1], std, strict=True)
        )
        self.full_resolution = full_resolution

    @property
    def classifier(self) -> nn.Module:
        """The classifier of the trunk; the branches have their own."""
        return self.trunk.classifier

    @property
    def branches(self) -> Sequence["Branch"]:
        """The branches, finest feature map first."""
        return [branch for branch in self.scales if isinstance(branch, Branch)]

    def forward(self, features: Sequence[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch classes rows columns"]:
        """Return the sum of all scores: at stride 8 in training, at the padded image's size at test time."""
        scores = self.trunk(features)
        coarse = scores.shape[-2:] == features[-1].shape[-2:]  # False if the trunk gives scores at full resolution
        if coarse and (self.training or not self.full_resolution):
            for branch, finer in zip(self.branches, features, strict=False):  # not the last map
                scores = scores + branch(finer, stride=grid_stride(scores.shape[-2:], finer.shape[-2:]))
            return scores
        size = features[0].shape[-2:]
        scores = resize_aligned(scores, size)
        for branch, finer in zip(self.branches, features, strict=False):
            scores = scores + resize_aligned(branch(finer, stride=1), size)
        return scores


class StridedConv2d(nn.Conv2d):
    """A convolution whose stride is an argument of every call."""

    def forward(self, x: Float[Tensor, "batch _ _ _"], stride: int = 1) -> Float[Tensor, "batch _ _ _"]:
        """Return the convolution of ``x`` with this stride."""
        return F.conv2d(x, self.weight, self.bias, stride, self.padding)


class Branch(nn.Module):
    """Two hidden layers and a classifier on one feature map.

    Args:
        in_channels: channels of the feature map.
        channels: channels of both hidden layers.
        num_classes: number of classes.
        dropout: probability, for single elements, after both hidden layers.
        std: standard deviation of the initial weights of the hidden layers.
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int, dropout: float, std: float) -> None:
        super().__init__()
        self.conv1 = StridedConv2d(in_channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 1)
        self.score = nn.Conv2d(channels, num_classes, 1)
        self.dropout = Dropout(dropout)
        for layer, deviation in ((self.conv1, std), (self.conv2, std), (self.score, 0.01)):
            nn.init.normal_(layer.weight, std=deviation)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], stride: int
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Return scores at every ``stride``-th position of the feature map, its first row and column included."""
        x = self.dropout(F.relu(self.conv1(x, stride)))
        x = self.dropout(F.relu(self.conv2(x)))
        return self.score(x)
