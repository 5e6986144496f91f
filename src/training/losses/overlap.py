"""Losses that measure the overlap of predicted and true regions, averaged over classes.

They treat the whole batch, over all devices, as one image. Only classes that occur in the true labels of the batch
count: for other classes there is no region to overlap with.
"""

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from src.labels import VOID
from src.training.losses.devices import count_devices, gather_over_devices, own_share, sum_over_devices


class Tversky(nn.Module):
    """One minus the mean Tversky index of the classes (Salehi et al., MLMI 2017).

    The index of a class is TP / (TP + alpha FP + beta FN). TP is the sum of its probabilities over its true positions,
    FP the sum over the other positions, and FN the sum of one minus its probabilities over its true positions.
    ``VOID`` does not count. With alpha = beta = 0.5 the index is the Dice coefficient, with 1 and 1 it is the Jaccard
    index (IoU).

    If a batch has no labelled positions, the loss is 0.

    Args:
        alpha: weight of false positives, 0 or more.
        beta: weight of false negatives, above 0. With beta > alpha, small regions are missed less often.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, alpha: float = 0.3, beta: float = 0.7) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"alpha={alpha}: must be 0 or more")
        if not beta > 0:
            raise ValueError(f"beta={beta}: must be above 0")
        self.alpha = alpha
        self.beta = beta

    def forward(
        self, scores: Float[Tensor, "batch classes *grid"], label: Integer[Tensor, "batch *grid"]
    ) -> Float[Tensor, ""]:
        sums = overlap_sums(by_class(scores.softmax(1)), label)
        return tversky_loss(sum_over_devices(sums) if self.training else sums, self.alpha, self.beta)


def overlap_sums(
    probabilities: Float[Tensor, "classes positions"], label: Integer[Tensor, "*grid"]
) -> Float[Tensor, "3 classes"]:
    """Return three sums for each class: its probabilities over its true positions, over all positions, and its size.

    The size of a class is the number of its true positions. ``VOID`` does not count.
    """
    truth, labelled = masks_of(label, len(probabilities))
    probabilities = probabilities * labelled
    return torch.stack([(probabilities * truth).sum(1), probabilities.sum(1), truth.sum(1).to(probabilities.dtype)])


def tversky_loss(sums: Float[Tensor, "3 classes"], alpha: float, beta: float) -> Float[Tensor, ""]:
    """Return one minus the mean Tversky index of the classes that occur, from their ``overlap_sums``."""
    hits, predicted, actual = sums
    index = hits / (hits + alpha * (predicted - hits) + beta * (actual - hits)).clamp(min=1e-6)
    return mean_of_present(1 - index, actual > 0)


class Dice(Tversky):
    """One minus the mean Dice coefficient of the classes, 2 TP / (2 TP + FP + FN) (Milletari et al., 3DV 2016).

    The sums are those of ``Tversky``: of probabilities, not of their squares.
    """

    def __init__(self) -> None:
        super().__init__(alpha=0.5, beta=0.5)


class LovaszSoftmax(nn.Module):
    """The Lovász extension of one minus the mean IoU of the classes (Berman et al., CVPR 2018).

    For probabilities of 0 and 1, it is one minus the mean IoU of the classes that occur in the labels. The errors of a
    class are sorted over the whole batch, and each is weighted by the IoU that it costs in addition to the larger
    errors. Several devices exchange all errors for this: one float per class and position.

    If a batch has no labelled positions, the loss is 0.
    """

    def forward(
        self, scores: Float[Tensor, "batch classes *grid"], label: Integer[Tensor, "batch *grid"]
    ) -> Float[Tensor, ""]:
        truth, labelled = masks_of(label, scores.shape[1])
        errors = (truth.to(scores.dtype) - by_class(scores.softmax(1))).abs()
        with torch.no_grad():
            keys = errors.masked_fill(~labelled, -1)  # void comes last
            if self.training:
                weights = own_share(jaccard_steps(gather_over_devices(keys), gather_over_devices(truth.byte()).bool()))
                present = sum_over_devices(truth.sum(1)) > 0
            else:
                weights, present = jaccard_steps(keys, truth), truth.any(1)
        losses = (errors * weights * labelled).sum(1)
        return mean_of_present(losses * count_devices() if self.training else losses, present)


def jaccard_steps(
    errors: Float[Tensor, "classes positions"], truth: Bool[Tensor, "classes positions"]
) -> Float[Tensor, "classes positions"]:
    """Return how much each error of a class adds to its Jaccard loss, if errors are made in order, the largest first.

    A class has n true positions. After the k largest errors, the intersection is n minus the number of true positions
    among them, and the union is n plus the number of other positions among them. So an error at a true position
    lowers the intersection by 1, and any other error raises the union by 1. The steps are the differences of
    1 - intersection / union, written without cancellation.

    Args:
        errors: error of each position.
        truth: mask of the true positions of each class.
    """
    order = errors.argsort(dim=1, descending=True)
    ordered = truth.gather(1, order)
    missed = ordered.cumsum(1)  # integers: exact in any order of addition
    extra = (~ordered).cumsum(1)
    actual = missed[:, -1:]
    intersection, union = actual - missed, actual + extra
    steps = torch.where(ordered, 1 / union, intersection / (union * (union - 1)).clamp(min=1))
    return torch.empty_like(errors).scatter_(1, order, steps.to(errors.dtype))


def masks_of(
    label: Integer[Tensor, "*grid"], classes: int
) -> tuple[Bool[Tensor, "classes positions"], Bool[Tensor, "1 positions"]]:
    """Return a mask of the positions of each class in a batch, and a mask of the positions that are not ``VOID``."""
    flat = label.reshape(1, -1)
    return flat == torch.arange(classes, device=label.device)[:, None], flat != VOID


def by_class(values: Float[Tensor, "batch classes *grid"]) -> Float[Tensor, "classes positions"]:
    """Return the values with one row per class, its positions in the order of ``masks_of``."""
    return values.movedim(1, 0).flatten(1)


def mean_of_present(losses: Float[Tensor, "classes"], present: Bool[Tensor, "classes"]) -> Float[Tensor, ""]:
    """Return the mean loss of the classes that are present; 0 if there are none."""
    return (losses * present).sum() / present.sum().clamp(min=1)
