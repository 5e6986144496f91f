"""Mean IoU, IoU by class and pixel accuracy from one additive confusion matrix."""

import torch
from jaxtyping import Integer
from torch import Tensor
from torchmetrics import Metric

IGNORE_INDEX = 255


class SegmentationMetrics(Metric):
    """Counts of (truth, prediction) pairs over the whole set; ratios are taken at the end (PASCAL VOC's definition).

    Void pixels do not count. A class that neither truth nor prediction ever holds has IoU nan and is left out of the
    mean. Counts add over batches and devices, so the result does not depend on how images were shared out.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    confusion: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", counts, dist_reduce_fx="sum")

    def update(self, prediction: Integer[Tensor, "*pixels"], truth: Integer[Tensor, "*pixels"]) -> None:
        """Count labels of any shape; both integer (uint8 is fine)."""
        self.confusion += confusion_matrix(prediction, truth, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """miou, iou (by class), pixel_accuracy, mean_accuracy; all in 0..1."""
        counts = self.confusion.double()
        hits, truth, prediction = counts.diag(), counts.sum(1), counts.sum(0)
        iou = hits / (truth + prediction - hits)  # 0 / 0 = nan: the class is absent everywhere
        return {
            "miou": iou.nanmean(),
            "iou": iou,
            "pixel_accuracy": hits.sum() / truth.sum(),
            "mean_accuracy": (hits / truth).nanmean(),
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
    counts = torch.bincount(index.flatten(), minlength=256 * num_classes).view(-1, num_classes)
    by_label = counts.sum(1)
    by_label[:num_classes] = 0
    by_label[IGNORE_INDEX] = 0
    if by_label.any():
        wrong = by_label.nonzero().flatten().tolist()
        raise ValueError(f"labels {wrong} are neither a class (0..{num_classes - 1}) nor void ({IGNORE_INDEX})")
    return counts[:num_classes]
