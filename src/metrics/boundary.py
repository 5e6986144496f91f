"""Agreement of boundaries: the boundary F-measure (Csurka et al., BMVC 2013; Badrinarayanan et al., SegNet, 2017)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Integer
from torch import Tensor
from torchmetrics import Metric

from src.labels import VOID

ONE = 1 << 32  # F-measures are summed as integers in units of 1 / ONE: such sums do not depend on their order


class BoundaryMetrics(Metric):
    """The F-measure of boundary pixels: by class, and as the mean over images of each image's mean over its classes.

    A boundary pixel of a class has one of its four neighbours in another class or in void. Precision is the share of
    the predicted boundary pixels that are closer than the tolerance to a true one, recall the share of the true ones
    that are closer than it to a predicted one (Csurka et al., "What is a good evaluation measure for semantic
    segmentation?", BMVC 2013). Classes count in the images whose ground truth has them (SegNet, TPAMI 2017). Pixels
    that are void in the ground truth are void in the prediction too, so that a perfect prediction has F = 1.

    Args:
        num_classes: number of classes, background included.
        tolerance: as a share of the image's diagonal; 0.75 % in both sources.

    Raises:
        ValueError: if ``tolerance`` is not positive.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    sums: Tensor
    images: Tensor

    def __init__(self, num_classes: int, tolerance: float = 0.0075) -> None:
        super().__init__()
        if not 0 < tolerance <= 1:
            raise ValueError(f"tolerance={tolerance}: must be a share of the image's diagonal, above 0")
        self.num_classes = num_classes
        self.tolerance = tolerance
        for name in ("sums", "images"):  # by class, and of the images' means
            self.add_state(name, torch.zeros(num_classes + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, prediction: Integer[Tensor, "*batch height width"], truth: Integer[Tensor, "*batch height width"]
    ) -> None:
        """Count one or more images; both tensors have the same shape and an integer dtype."""
        size = truth.shape[-2:]
        pairs = zip(prediction.reshape(-1, *size).cpu(), truth.reshape(-1, *size).cpu(), strict=True)
        for predicted_labels, true_labels in pairs:
            scores = measure_boundaries(predicted_labels.numpy(), true_labels.numpy(), self.num_classes, self.tolerance)
            measured = ~np.isnan(scores)
            if not measured.any():
                continue
            scores = np.append(scores, scores[measured].mean())
            counts = torch.from_numpy(np.append(measured, True))
            self.images += counts.to(self.images)
            self.sums += torch.from_numpy(np.rint(np.nan_to_num(scores) * ONE)).to(self.sums)

    def compute(self) -> dict[str, Tensor]:
        """Return mean_boundary_f (a number) and boundary_f (by class), in 0..1; NaN for a class without boundaries."""
        means = self.sums.double() / ONE / self.images
        return {"mean_boundary_f": means[-1], "boundary_f": means[:-1]}


def measure_boundaries(
    prediction: Integer[np.ndarray, "height width"],
    truth: Integer[np.ndarray, "height width"],
    num_classes: int,
    tolerance: float,
) -> np.ndarray:
    """Return the F-measure of each class in one image; NaN for classes that are absent from the ground truth.

    It is also NaN for a class without boundaries, which fills both label maps.
    """
    limit = tolerance**2 * (truth.shape[0] ** 2 + truth.shape[1] ** 2)  # squared distances are whole numbers
    valid = truth != VOID
    scores = np.full(num_classes, np.nan)
    for class_ in np.unique(truth[valid]):
        predicted, true = boundary((prediction == class_) & valid), boundary(truth == class_)
        if not (predicted.any() or true.any()):
            continue
        window = bounding_box(predicted | true)
        predicted, true = predicted[window], true[window]
        precision, recall = share(predicted, near(true, limit)), share(true, near(predicted, limit))
        scores[class_] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


def boundary(inside: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Return the pixels of a region that have one of their four neighbours outside; the image's edge is no boundary."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return inside & (cv2.erode(inside.astype(np.uint8), cross, borderValue=1) == 0)


def near(boundary: Bool[np.ndarray, "height width"], limit: float) -> Bool[np.ndarray, "height width"]:
    """Return the pixels whose squared distance to the nearest boundary pixel is less than ``limit``."""
    if not boundary.any():
        return np.zeros_like(boundary)
    distance = cv2.distanceTransform((~boundary).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.rint(distance.astype(np.float64) ** 2) < limit


def share(pixels: Bool[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]) -> float:
    """Return the share of the given pixels that are in a mask; 0 if there are none."""
    return float(mask[pixels].mean()) if pixels.any() else 0.0


def bounding_box(mask: Bool[np.ndarray, "height width"]) -> tuple[slice, slice]:
    """Return the rows and columns of the smallest rectangle that contains all pixels of a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
