"""Augmentation: the paper's crop and mirror, the scale jitter of its successors, by albumentations."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from src.labels import VOID

if TYPE_CHECKING:
    from albumentations import BaseCompose

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for its newest version

MEAN_RGB = (123, 117, 104)  # the paper's mean pixel, rounded


def train_transform(
    crop_size: int, scale: Sequence[float] | None = None, mirror: bool = True, extra: Sequence[Any] = ()
) -> BaseCompose:
    """Scale jitter, a random square crop (padded with the mean pixel and void), mirror.

    Args:
        crop_size: side of the crop in pixels; 8 k + 1 fits the score map exactly (the paper: 321).
        scale: smallest and largest factor, or None.
        mirror: flip left and right with probability 1/2.
        extra: albumentations transforms that follow.

    Raises:
        ValueError: if the crop is not positive or the scale is not an increasing pair of positive factors.
    """
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)  # the loader's processes are the parallelism
    if crop_size < 1 or crop_size != int(crop_size):
        raise ValueError(f"crop_size={crop_size}: must be a whole number of pixels, 1 or more")
    steps: list[Any] = []
    if scale is not None:
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale={list(scale)}: must be two factors, 0 < low <= high, or None (null)")
        low, high = scale
        if low < 1:  # an image of a pixel must not become none: sides are rounded down
            side = math.ceil(1 / low) + 1
            steps.append(A.PadIfNeeded(side, side, fill=MEAN_RGB, fill_mask=VOID, border_mode=cv2.BORDER_CONSTANT))
        steps.append(A.RandomScale((low - 1, high - 1), p=1))
    steps.append(A.PadIfNeeded(crop_size, crop_size, fill=MEAN_RGB, fill_mask=VOID, border_mode=cv2.BORDER_CONSTANT))
    steps.append(A.RandomCrop(crop_size, crop_size))
    if mirror:
        steps.append(A.HorizontalFlip(p=0.5))
    return A.Compose([*steps, *extra])
