"""Accuracy near boundaries: the trimap curve of the paper's figure 5 (Kohli et al. 2009, Krähenbühl & Koltun 2011)."""

import cv2
import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

from src.labels import VOID
from src.metrics.confusion import SegmentationMetrics, ratios


class TrimapMetrics(SegmentationMetrics):
    """``SegmentationMetrics``, and the same inside bands around the void pixels, which follow the objects' boundaries.

    The band of width w holds what a square of 2 w + 1 pixels dilates void by, without void itself. A band is the sum
    of rings of one pixel, so one count serves all widths.

    Args:
        num_classes: background included.
        widths: bands of 1 to so many pixels.
    """

    rings: Tensor

    def __init__(self, num_classes: int, widths: int = 40) -> None:
        super().__init__(num_classes)
        if widths < 1:
            raise ValueError(f"widths={widths}: the widest band must have 1 pixel or more")
        self.widths = widths
        counts = torch.zeros(widths, num_classes, num_classes, dtype=torch.int64)
        self.add_state("rings", counts, dist_reduce_fx="sum")

    def update(
        self, prediction: Integer[Tensor, "*batch height width"], truth: Integer[Tensor, "*batch height width"]
    ) -> None:
        super().update(prediction, truth)
        distance = distance_to_void(truth)
        near = (distance > 0) & (distance <= self.widths)
        ring, label, found = (distance[near] - 1).long(), truth[near].long(), prediction[near].long()
        index = (ring * self.num_classes + label) * self.num_classes + found
        self.rings += torch.bincount(index, minlength=self.rings.numel()).view_as(self.rings)

    def compute(self) -> dict[str, Tensor]:
        """As ``SegmentationMetrics``; trimap_miou and trimap_pixel_accuracy by width, nan where a band is empty."""
        bands = ratios(self.rings.cumsum(0))
        return {
            **super().compute(),
            "trimap_miou": bands["miou"],
            "trimap_pixel_accuracy": bands["pixel_accuracy"],
        }


def distance_to_void(truth: Integer[Tensor, "*batch height width"]) -> Integer[Tensor, "*batch height width"]:
    """Chebyshev distance in pixels to the nearest void pixel, 255 at most: the width of the first band that has it."""
    maps = [
        cv2.distanceTransform((image != VOID).astype(np.uint8), cv2.DIST_C, 3).clip(max=255)
        for image in truth.reshape(-1, *truth.shape[-2:]).cpu().numpy()
    ]
    return torch.from_numpy(np.stack(maps).astype(np.uint8)).view(truth.shape).to(truth.device)
