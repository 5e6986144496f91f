"""Join validation images of one size into batches, because a single image does not fill a GPU."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

import torch

from src.training.datamodule import Batch

PIXELS = 8 * 375 * 500  # in a batch: eight images of VOC 2012, or half a batch of the paper's training
WAITING = 64  # images, of all sizes together


class WaitingImage(NamedTuple):
    """An image that waits for others of its size."""

    position: int
    batch: Batch


class EqualSizes:
    """Collects batches of one image, and joins those of one size.

    Args:
        pixels: largest number of pixels in a joined batch; a larger image has a batch of its own. 0 joins nothing.
    """

    def __init__(self, pixels: int = PIXELS) -> None:
        self.pixels = pixels
        self.waiting: dict[Hashable, list[WaitingImage]] = {}  # by size, longest waiting first

    def add(self, position: int, batch: Batch) -> Iterator[tuple[list[int], Batch]]:
        """Take one image, and yield the batches that are now complete, with the positions of their images.

        Args:
            position: of the image, counted from 0, in the order of this process.
            batch: the image, in a batch of its own.
        """
        size = batch["image"].shape[-2:]
        self.waiting.setdefault(size, []).append(WaitingImage(position, batch))
        if (len(self.waiting[size]) + 1) * size.numel() > self.pixels:
            yield self.join(size)
        elif sum(map(len, self.waiting.values())) >= WAITING:
            yield self.join(next(iter(self.waiting)))

    def rest(self) -> Iterator[tuple[list[int], Batch]]:
        """Yield the images that still wait, joined by size."""
        for size in list(self.waiting):
            yield self.join(size)

    def join(self, size: Hashable) -> tuple[list[int], Batch]:
        """Remove the images of one size, and return their positions and their batch."""
        positions, batches = zip(*self.waiting.pop(size), strict=True)
        return list(positions), {
            "image": torch.cat([batch["image"] for batch in batches]),
            "label": torch.cat([batch["label"] for batch in batches]),
            "id": [id_ for batch in batches for id_ in batch["id"]],
        }
