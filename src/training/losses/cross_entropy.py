"""Cross-entropy and its weighted forms: a loss for each position."""

from math import ceil, log

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from src.labels import VOID
from src.training.losses.devices import count_devices, mean_over_devices, mean_over_labelled


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the positions that are not ``VOID`` (paper, section 3.1).

    If a batch has no labelled positions, the loss is 0, where ``torch.nn.CrossEntropyLoss`` would give NaN.

    Args:
        label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).

    Raises:
        ValueError: if ``label_smoothing`` is not in 0..1.
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
        return mean_over_labelled(loss, label, self.training)


class ClassBalancedCrossEntropy(nn.Module):
    """Cross-entropy weighted by class with the inverse of the class's effective number of positions.

    A class with n positions in the batch has the effective number (1 - beta^n) / (1 - beta) (Cui et al., CVPR 2019).
    So positions of rare classes have larger weights.

    Args:
        beta: 0 <= beta < 1. At 0, all positions have the same weight; near 1, all classes of the batch do.

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


class Focal(nn.Module):
    """Cross-entropy with smaller weights for positions where the network is confident (Lin et al., ICCV 2017).

    The mean is over all positions that are not ``VOID``.

    Args:
        gamma: each position is weighted by (1 - p)^gamma, where p is the probability of its true class; 0 or more. At
            0, this is cross-entropy.

    Raises:
        ValueError: if ``gamma`` is negative.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"gamma={gamma}: must be 0 or more")
        self.gamma = gamma

    def forward(
        self, scores: Float[Tensor, "batch classes *grid"], label: Integer[Tensor, "batch *grid"]
    ) -> Float[Tensor, ""]:
        loss = F.cross_entropy(scores, label, ignore_index=VOID, reduction="none")
        error = -torch.expm1(-loss)  # 1 - p, without cancellation
        weight = error.clamp(min=torch.finfo(scores.dtype).tiny) ** self.gamma  # at 0, the gradient may be infinite
        return mean_over_labelled(weight * loss, label, self.training)


class OHEMCrossEntropy(nn.Module):
    """Cross-entropy over the hard positions only (online hard example mining, Shrivastava et al., CVPR 2016).

    A position is hard if the probability of its true class is below ``threshold``. If too few are hard, the hardest
    positions count, up to the share ``least`` of all that are not void. Each device mines its own share of the batch.

    Args:
        threshold: probability, 0 < threshold <= 1; with 1, every position counts.
        least: smallest share of the positions that count, 0 < least <= 1.

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
        if self.threshold == 1:  # also positions whose loss is rounded to 0
            return hardest.mean()
        hard = (hardest > -log(self.threshold)).sum()
        return hardest[: max(int(hard), ceil(self.least * len(hardest)))].mean()
