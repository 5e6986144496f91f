"""Multi-scale prediction (paper, section 3.3): the image and pool1 to pool4 have a say in the scores."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from src.models.dropout import Dropout
from src.models.geometry import grid_stride, resize_aligned
from src.models.heads.head import Head


class MSc(Head):
    """Any head, and on each map finer than its own a small network whose scores are added to the head's.

    One classifier on the concatenation of the head's and the branches' channels is the same as a sum of one classifier
    on each; the released Caffe files write it as a sum, and so does this.

    In training the branches take strides 8, 4, 2, 1, 1, so that all scores meet at an eighth of the image. At test
    their stride is 1 and every score map is up-sampled to the image's size before the sum, as in the released files;
    at the positions (8 i, 8 j) both give the same scores. On a head that scores every pixel, training is as the test.

    Args:
        in_channels: channels of every feature map of the backbone; every map but the last gets a branch.
        num_classes: score maps to give.
        trunk: the head that reads the last map; called with ``in_channels`` and ``num_classes``.
        channels: of both layers of a branch.
        width: factor on ``channels`` and on ``dropout``, as in ``FCHead``.
        dropout: probability, element by element, after both layers of a branch.
        std: of the Gaussian that every branch starts from, finest map first; the scores start from 0.01.
        full_resolution: False keeps the grid of training at test, which is faster and loses the detail.

    Raises:
        ValueError: if ``std`` does not name every branch or ``width`` leaves a branch without channels.
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
        if round(channels * width) < 1:
            raise ValueError(f"channels={channels} with width={width}: leaves the branches without channels")
        channels = round(channels * width)
        self.trunk = trunk(in_channels, num_classes)
        self.scales = nn.ModuleList(
            Branch(before, channels, num_classes, min(1.0, width) * dropout, deviation)
            for before, deviation in zip(in_channels[:-1], std, strict=True)
        )
        self.full_resolution = full_resolution

    @property
    def classifier(self) -> nn.Module:
        return self.trunk.classifier

    @property
    def branches(self) -> Sequence["Branch"]:
        return [branch for branch in self.scales if isinstance(branch, Branch)]

    def forward(self, features: Sequence[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch classes rows columns"]:
        scores = self.trunk(features)
        coarse = scores.shape[-2:] == features[-1].shape[-2:]  # not so where the trunk's classifier follows up-sampling
        if coarse and (self.training or not self.full_resolution):
            for branch, finer in zip(self.branches, features, strict=False):  # the last map is the trunk's
                scores = scores + branch(finer, stride=grid_stride(scores.shape[-2:], finer.shape[-2:]))
            return scores
        size = features[0].shape[-2:]
        scores = resize_aligned(scores, size)
        for branch, finer in zip(self.branches, features, strict=False):
            scores = scores + resize_aligned(branch(finer, stride=1), size)
        return scores


class StridedConv2d(nn.Conv2d):
    """A convolution that is told its stride at every call."""

    def forward(self, x: Float[Tensor, "batch _ _ _"], stride: int = 1) -> Float[Tensor, "batch _ _ _"]:
        return F.conv2d(x, self.weight, self.bias, stride, self.padding)


class Branch(nn.Module):
    """Two layers and a classifier on one feature map."""

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
        """Scores at every ``stride``-th position: stride k n on a side of k n m + 1 keeps both ends."""
        x = self.dropout(F.relu(self.conv1(x, stride)))
        x = self.dropout(F.relu(self.conv2(x)))
        return self.score(x)
