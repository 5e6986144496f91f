"""The loss functions: criteria, and the grid on which a criterion is computed."""

from math import ceil, log
from typing import Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from src.labels import VOID
from src.models.geometry import score_stride, shrink_label, upsample_scores


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the positions that are not ``VOID`` (paper, section 3.1).

    If a batch has no labelled position, the loss is 0; ``torch.nn.CrossEntropyLoss`` would give NaN.

    Args:
        label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).

    Raises:
        ValueError: if ``label_smoothing`` lies outside of 0..1.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing={label_smoothing}: must lie between 0 and 1")
        self.label_smoothing = label_smoothing

    def forward(
        self, scores: Float[Tensor, "batch classes *grid"], label: Integer[Tensor, "batch *grid"]
    ) -> Float[Tensor, ""]:
        loss = F.cross_entropy(
            scores,
            label,
            ignore_index=VOID,
            reduction="none",  # "sum" has no deterministic form on CUDA
            label_smoothing=self.label_smoothing,
        )
        labelled = (label != VOID).sum()
        return loss.sum() / (mean_over_devices(labelled) if self.training else labelled).clamp(min=1)


class ClassBalancedCrossEntropy(nn.Module):
    """Cross-entropy weighted by class with the inverse of the class's effective number of positions.

    A class with n positions in the batch has the effective number (1 - beta^n) / (1 - beta) (Cui et al., CVPR 2019), so
    rare classes weigh more.

    Args:
        beta: 0 <= beta < 1. With 0, all positions weigh the same; towards 1, all classes of the batch weigh the same.

    Raises:
        ValueError: if ``beta`` is out of range.
    """

    def __init__(self, beta: float = 0.9999) -> None:
        super().__init__()
        if not 0 <= beta < 1:
            raise ValueError(f"beta={beta}: must be 0 or more and below 1")
        self.beta = beta

    def forward(
        self, scores: Float[Tensor, "batch classes *grid"], label: Integer[Tensor, "batch *grid"]
    ) -> Float[Tensor, ""]:
        counts = torch.bincount(label[label != VOID], minlength=scores.shape[1])
        whole = counts  # of the batch on all devices
        if self.training:
            counts = mean_over_devices(counts)
            whole = count_devices() * counts
        effective = (1 - self.beta ** whole.clamp(min=1).double()) / (1 - self.beta)
        weight = (1 / effective).to(scores.dtype)
        loss = F.cross_entropy(scores, label, weight, ignore_index=VOID, reduction="none")
        return loss.sum() / (weight * counts).sum().clamp(min=torch.finfo(scores.dtype).tiny)


class OHEMCrossEntropy(nn.Module):
    """Cross-entropy over the hard positions only (online hard example mining, Shrivastava et al., CVPR 2016).

    A position is hard if the probability of its true class is below ``threshold``. If there are too few of them, the
    share ``least`` of all positions that are not void is taken, the hardest ones first. With several devices, each
    mines its own share of the batch.

    Args:
        threshold: probability, 0 < threshold <= 1; 1 takes every position.
        least: smallest share of the positions to take, 0 < least <= 1.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, threshold: float = 0.7, least: float = 0.25) -> None:
        super().__init__()
        for name, value in (("threshold", threshold), ("least", least)):
            if not 0 < value <= 1:
                raise ValueError(f"{name}={value}: must be above 0 and at most 1")
        self.threshold = threshold
        self.least = least

    def forward(
        self, scores: Float[Tensor, "batch classes *grid"], label: Integer[Tensor, "batch *grid"]
    ) -> Float[Tensor, ""]:
        loss = F.cross_entropy(scores, label, ignore_index=VOID, reduction="none")
        hardest = loss[label != VOID].sort(descending=True).values
        if not len(hardest):
            return loss.sum()  # 0, with a gradient of 0
        hard = (hardest > -log(self.threshold)).sum()
        return hardest[: max(int(hard), ceil(self.least * len(hardest)))].mean()


class SegmentationLoss(nn.Module):
    """Computes a criterion on the grid of the score map or of the image.

    On the score map (as in the paper), labels are shrunk by a factor of 8. The softmax takes 64 times less memory, and
    the loss is deterministic on CUDA, where the backward pass of bilinear up-sampling is not. On the image, scores are
    up-sampled by a factor of 8, as in later versions of DeepLab.

    Args:
        criterion: takes scores and labels on the same grid.
        grid: "scores" or "image".

    Raises:
        ValueError: if ``grid`` is neither.
    """

    def __init__(self, criterion: nn.Module, grid: Literal["scores", "image"] = "scores") -> None:
        super().__init__()
        if grid not in ("scores", "image"):
            raise ValueError(f"grid={grid}: must be scores or image")
        self.criterion = criterion
        self.grid = grid

    def forward(
        self, scores: Float[Tensor, "batch classes rows columns"], label: Integer[Tensor, "batch height width"]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch.

        Scores at full resolution (the tutorial's network) are compared with every label, whatever ``grid`` is.

        Args:
            scores: output of the network.
            label: labels at the image's size, of any integer dtype; ``VOID`` where there is no label.
        """
        scores, label = scores.float(), label.to(torch.int64)
        if self.grid == "scores" and score_stride(scores.shape[-2:], label.shape[-2:]) > 1:
            return self.criterion(scores, shrink_label(label))
        return self.criterion(upsample_scores(scores, label.shape[-2:]), label)


def count_devices() -> int:
    """Return the number of devices that share a batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def mean_over_devices(count: Tensor) -> Tensor:
    """Return the count of positions in the whole batch, divided by the number of devices.

    DDP averages the gradients of all devices, so void positions on one device must count on all of them. All devices
    have to call this, as they do in training but not in validation, where one can have more images than another.
    """
    if count_devices() == 1:
        return count
    count = count.float()
    distributed.all_reduce(count)
    return count / count_devices()
