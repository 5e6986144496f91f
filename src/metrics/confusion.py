"""Mean IoU, IoU by class and pixel accuracy, computed from one confusion matrix."""

import torch
from jaxtyping import Integer, Num
from torch import Tensor
from torchmetrics import Metric

from src.labels import MAX_CLASSES, VOID


class SegmentationMetrics(Metric):
    """Counts pairs of true and predicted labels over a whole data set; the ratios are computed at the end (PASCAL VOC).

    Void pixels do not count. A class that occurs neither in the true nor in the predicted labels has IoU NaN and is
    left out of the mean. Counts add up over batches and devices, so the result does not depend on how images are
    distributed.

    Args:
        num_classes: number of classes, background included.

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
        """Count the labels of one or more images; both tensors have the same shape and an integer dtype.

        Raises:
            ValueError: as ``confusion_matrix``.
        """
        self.confusion += confusion_matrix(prediction, truth, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """Return the confusion matrix as ``confusion``, and its ``ratios``."""
        return {"confusion": self.confusion.clone(), **ratios(self.confusion)}


def ratios(confusion: Num[Tensor, "*sets classes classes"]) -> dict[str, Tensor]:
    """Return miou, pixel_accuracy, mean_accuracy and, by class, iou and accuracy (recall), in 0..1; NaN for 0 / 0.

    Args:
        confusion: pixels by true class (rows) and predicted class (columns); leading dimensions are kept.
    """
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
    """Return the number of pixels by true class (row) and predicted class (column), without void pixels.

    Raises:
        ValueError: if a true label is neither a class nor void, or a predicted one is no class where the true one is.
    """
    # One bin for every pair of bytes: a label that is no class must not be counted as another.
    predicted = prediction if prediction.dtype == torch.uint8 else prediction.clamp(max=VOID).to(torch.uint8)
    index = truth.to(torch.int32) * (VOID + 1) + predicted.to(torch.int32)
    counts = torch.bincount(index.flatten(), minlength=(VOID + 1) ** 2).view(-1, VOID + 1)
    if wrong := labels_outside(counts[:VOID].sum(1), num_classes):
        raise ValueError(f"labels {wrong} are neither a class (0..{num_classes - 1}) nor void ({VOID})")
    if wrong := labels_outside(counts[:num_classes].sum(0), num_classes):
        raise ValueError(f"predicted labels {wrong} are not classes (0..{num_classes - 1})")
    return counts[:num_classes, :num_classes]


def labels_outside(pixels: Integer[Tensor, "labels"], num_classes: int) -> list[int]:
    """Return the labels that occur and are no class, from the number of pixels by label."""
    return (pixels[num_classes:].nonzero().flatten() + num_classes).tolist()
