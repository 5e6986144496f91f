"""Augmentation with albumentations: the paper's random crop and mirroring, and scale jitter."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from src.labels import VOID

if TYPE_CHECKING:
    from albumentations import BaseCompose

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise it checks online for a newer version

MEAN_RGB = (123, 117, 104)  # the paper's mean pixel, rounded


def train_transform(
    crop_size: int, scale: Sequence[float] | None = None, mirror: bool = True, extra: Sequence[Any] = ()
) -> BaseCompose:
    """Return the training augmentation: scale jitter, random square crop, and mirroring.

    Images smaller than the crop are padded with the mean pixel, labels with void.

    Args:
        crop_size: side of the crop in pixels; 8k + 1 needs no further padding (321 in the paper).
        scale: smallest and largest scale factor; None for no scaling.
        mirror: swap left and right with probability 1/2.
        extra: further albumentations transforms, applied last.

    Raises:
        ValueError: if the crop is not positive or the scale is not an increasing pair of positive factors.
    """
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)  # the loader's processes already run in parallel
    if crop_size < 1 or crop_size != int(crop_size):
        raise ValueError(f"crop_size={crop_size}: must be a whole number of pixels, 1 or more")
    steps: list[Any] = []
    if scale is not None:
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale={list(scale)}: must be two factors, 0 < low <= high, or null")
        low, high = scale
        if low < 1:  # sides are rounded down: pad tiny images, so that none shrinks to nothing
            side = math.ceil(1 / low) + 1
            steps.append(A.PadIfNeeded(side, side, fill=MEAN_RGB, fill_mask=VOID, border_mode=cv2.BORDER_CONSTANT))
        steps.append(A.RandomScale((low - 1, high - 1), p=1))
    steps.append(A.PadIfNeeded(crop_size, crop_size, fill=MEAN_RGB, fill_mask=VOID, border_mode=cv2.BORDER_CONSTANT))
    steps.append(A.RandomCrop(crop_size, crop_size))
    if mirror:
        steps.append(A.HorizontalFlip(p=0.5))
    return A.Compose([*steps, *extra])
