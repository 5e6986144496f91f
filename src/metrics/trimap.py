"""Accuracy near boundaries: the trimap curve of the paper's figure 5 (Kohli et al. 2009, Krähenbühl & Koltun 2011)."""

import cv2
import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

from src.labels import VOID
from src.metrics.confusion import SegmentationMetrics, ratios

MAX_WIDTH = 1024  # as wide as most images; OpenCV's distances end at 8192


class TrimapMetrics(SegmentationMetrics):
    """``SegmentationMetrics``, and the same in bands around the void pixels, which follow the boundaries of objects.

    The band of width w contains the pixels that a dilation of void by a square of 2 w + 1 pixels adds. A band is a
    union of rings that are one pixel wide, so one count serves all widths.

    Args:
        num_classes: number of classes, background included.
        widths: width in pixels of the widest band; there is a band for each width from 1.

    Raises:
        ValueError: if ``widths`` is not positive, or above 1024.
    """

    rings: Tensor

    def __init__(self, num_classes: int, widths: int = 40) -> None:
        super().__init__(num_classes)
        if not 1 <= widths <= MAX_WIDTH:
            raise ValueError(f"widths={widths}: the widest band must have 1 to {MAX_WIDTH} pixels")
        self.widths = widths
        counts = torch.zeros(widths, num_classes, num_classes, dtype=torch.int64)
        self.add_state("rings", counts, dist_reduce_fx="sum")

    def update(
        self, prediction: Integer[Tensor, "*batch height width"], truth: Integer[Tensor, "*batch height width"]
    ) -> None:
        """Count the labels of one or more images; both tensors have the same shape and an integer dtype."""
        super().update(prediction, truth)
        distance = distance_to_void(truth, self.widths + 1)
        near = (distance > 0) & (distance <= self.widths)
        ring, true_label, predicted_label = (distance[near] - 1).long(), truth[near].long(), prediction[near].long()
        index = (ring * self.num_classes + true_label) * self.num_classes + predicted_label
        self.rings += torch.bincount(index, minlength=self.rings.numel()).view_as(self.rings)

    def compute(self) -> dict[str, Tensor]:
        """Return what ``SegmentationMetrics`` computes, and trimap_miou and trimap_pixel_accuracy.

        Both are curves by width of the band, from 1 pixel; NaN where a band is empty.
        """
        bands = ratios(self.rings.cumsum(0))
        return {
            **super().compute(),
            "trimap_miou": bands["miou"],
            "trimap_pixel_accuracy": bands["pixel_accuracy"],
        }


def distance_to_void(
    truth: Integer[Tensor, "*batch height width"], limit: int
) -> Integer[Tensor, "*batch height width"]:
    """Return the Chebyshev distance in pixels to the nearest void pixel, at most ``limit``, also where there is none.

    It is the width of the narrowest band that holds the pixel.
    """
    maps = [
        cv2.distanceTransform((image != VOID).astype(np.uint8), cv2.DIST_C, 3).clip(max=limit)
        for image in truth.reshape(-1, *truth.shape[-2:]).cpu().numpy()
    ]
    return torch.from_numpy(np.stack(maps).astype(np.int16)).view(truth.shape).to(truth.device)
