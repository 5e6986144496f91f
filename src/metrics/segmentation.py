"""Mean IoU, IoU by class and pixel accuracy from one additive confusion matrix."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer
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
    # One class more takes the void, so that nothing has to be gathered; int32 halves the memory traffic.
    row = torch.where(truth == IGNORE_INDEX, num_classes, truth.to(torch.int32))
    index = (row * num_classes + prediction.to(torch.int32)).flatten()
    counts = torch.bincount(index, minlength=(num_classes + 1) * num_classes)
    if counts.numel() > (num_classes + 1) * num_classes:
        wrong = sorted(set(truth[truth != IGNORE_INDEX].unique().tolist()) - set(range(num_classes)))
        raise ValueError(f"labels {wrong} are neither a class (0..{num_classes - 1}) nor void ({IGNORE_INDEX})")
    return counts.view(num_classes + 1, num_classes)[:num_classes]


def iou_by_class(iou: Float[Tensor, "classes"], classes: Sequence[str]) -> dict[str, float]:
    """Names to IoU in 0..1, nan for a class that is absent everywhere."""
    return dict(zip(classes, iou.tolist(), strict=True))
