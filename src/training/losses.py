"""What training minimises: a criterion, and the grid on which it is taken."""

from math import ceil, log
from typing import Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from src.labels import VOID
from src.models.geometry import score_stride, shrink_label, upsample_scores


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the positions that are not ``VOID`` (paper, section 3.2).

    A batch without a single labelled position has loss 0, where torch.nn.CrossEntropyLoss gives nan.

    Args:
        label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing={label_smoothing}: must lie between 0 and 1")
        self.label_smoothing = label_smoothing

    def forward(
        self, scores: Float[Tensor, "batch classes *grid"], label: Integer[Tensor, "batch *grid"]
    ) -> Float[Tensor, ""]:
        total = F.cross_entropy(
            scores,
            label,
            ignore_index=VOID,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return total / mean_over_devices((label != VOID).sum()).clamp(min=1)


class ClassBalancedCrossEntropy(nn.Module):
    """Cross-entropy in which rare classes weigh more: each by the inverse of its effective number of positions.

    A class with n positions in the batch has the effective number (1 - beta^n) / (1 - beta) (Cui et al., CVPR 2019):
    beta 0 weighs all positions alike; towards 1 every class of the batch weighs the same.

    Args:
        beta: 0 <= beta < 1.
    """

    def __init__(self, beta: float = 0.9999) -> None:
        super().__init__()
        if not 0 <= beta < 1:
            raise ValueError(f"beta={beta}: must be 0 or more and below 1")
        self.beta = beta

    def forward(
        self, scores: Float[Tensor, "batch classes *grid"], label: Integer[Tensor, "batch *grid"]
    ) -> Float[Tensor, ""]:
        counts = mean_over_devices(torch.bincount(label[label != VOID], minlength=scores.shape[1]))
        effective = (1 - self.beta ** (devices() * counts).clamp(min=1).double()) / (1 - self.beta)
        weight = (1 / effective).to(scores.dtype)
        total = F.cross_entropy(scores, label, weight, ignore_index=VOID, reduction="sum")
        return total / (weight * counts).sum().clamp(min=torch.finfo(scores.dtype).tiny)


class OHEMCrossEntropy(nn.Module):
    """Cross-entropy over the hard positions only (online hard example mining, Shrivastava et al., CVPR 2016).

    Several devices each mine their own share of the batch.

    Hard is where the true class has a probability below ``threshold``; where those are few, the hardest ones make up
    ``least`` of all positions that are not void.

    Args:
        threshold: probability, 0 < threshold <= 1; 1 counts every position.
        least: share of the positions that always count, 0 < least <= 1.
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
    """A criterion on the score map or on the image.

    On the score map (the paper) labels shrink by eight: 64 times less softmax memory, and deterministic on CUDA, where
    the backward pass of bilinear up-sampling is not. On the image, scores grow by eight, as later DeepLabs do.

    Args:
        criterion: takes scores and labels of the same grid.
        grid: "scores" or "image".
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
        """``label`` has the image's size; integer of any width, ``VOID`` for void.

        Scores at full resolution (the tutorial's network) meet every label, whatever ``grid`` says.
        """
        scores, label = scores.float(), label.to(torch.int64)
        if self.grid == "scores" and score_stride(scores.shape[-2:], label.shape[-2:]) > 1:
            return self.criterion(scores, shrink_label(label))
        return self.criterion(upsample_scores(scores, label.shape[-2:]), label)


def devices() -> int:
    """How many share a batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def mean_over_devices(count: Tensor) -> Tensor:
    """Positions of the whole batch, per device: DDP takes the mean of gradients, so void on one must count on all."""
    if devices() == 1:
        return count
    count = count.float()
    distributed.all_reduce(count)
    return count / devices()
