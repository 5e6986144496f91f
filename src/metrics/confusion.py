"""Mean IoU, IoU by class and pixel accuracy from one additive confusion matrix."""

import torch
from jaxtyping import Integer, Num
from torch import Tensor
from torchmetrics import Metric

from src.labels import MAX_CLASSES, VOID


class SegmentationMetrics(Metric):
    """Counts of (truth, prediction) pairs over the whole set; ratios are taken at the end (PASCAL VOC's definition).

    Void pixels do not count. A class that neither truth nor prediction ever holds has IoU nan and is left out of the
    mean. Counts add over batches and devices, so the result does not depend on how images were shared out.

    Args:
        num_classes: background included.

    Raises:
        ValueError: if there are more classes than a label map can hold.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    confusion: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes > MAX_CLASSES:
            raise ValueError(f"{num_classes} classes: a label map holds {MAX_CLASSES} at most, and {VOID} is void")
        self.num_classes = num_classes
        counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", counts, dist_reduce_fx="sum")

    def update(self, prediction: Integer[Tensor, "*pixels"], truth: Integer[Tensor, "*pixels"]) -> None:
        """Count labels of any shape; both integer (uint8 is fine)."""
        self.confusion += confusion_matrix(prediction, truth, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """The confusion matrix itself, as ``confusion``, and its ``ratios``."""
        return {"confusion": self.confusion.clone(), **ratios(self.confusion)}


def ratios(confusion: Num[Tensor, "*sets classes classes"]) -> dict[str, Tensor]:
    """miou, pixel_accuracy, mean_accuracy, and by class iou and accuracy (recall); all in 0..1, nan for 0 / 0."""
    counts = confusion.double()
    hits, truth, prediction = counts.diagonal(dim1=-2, dim2=-1), counts.sum(-1), counts.sum(-2)
    iou = hits / (truth + prediction - hits)
    accuracy = hits / truth
    return {
        "miou": iou.nanmean(-1),
        "iou": iou,
        "pixel_accuracy": hits.sum(-1) / truth.sum(-1),
        "mean_accuracy": accuracy.nanmean(-1),
        "accuracy": accuracy,
    }


def confusion_matrix(
    prediction: Integer[Tensor, "*pixels"], truth: Integer[Tensor, "*pixels"], num_classes: int
) -> Integer[Tensor, "classes classes"]:
    """Pixels by true class (row) and predicted class (column), void left out.

    Raises:
        ValueError: if a label is neither a class nor void.
    """
    # One bin for every value that a byte can have: void and strangers are told apart by where they fall.
    index = truth.to(torch.int32) * num_classes + prediction.to(torch.int32)
    counts = torch.bincount(index.flatten(), minlength=(VOID + 1) * num_classes).view(-1, num_classes)
    by_label = counts.sum(1)
    by_label[:num_classes] = 0
    by_label[VOID] = 0
    if by_label.any():
        wrong = by_label.nonzero().flatten().tolist()
        raise ValueError(f"labels {wrong} are neither a class (0..{num_classes - 1}) nor void ({VOID})")
    return counts[:num_classes]
