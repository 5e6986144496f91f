"""Scenes: images with the network's scores, which the server keeps while pages refine them."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from src.data.dataset import Picture
from src.models.geometry import score_stride, upsample_scores


class Scene(NamedTuple):
    """An image at the size at which the page works, and the network's scores of it.

    Attributes:
        pixels: RGB, uint8 of shape (height, width, 3).
        score_map: float32 (classes, rows, columns) on the CPU.
        file_size: (height, width) of the image before it was shrunk.
    """

    pixels: Picture
    score_map: Float[Tensor, "classes rows columns"]
    file_size: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def stride(self) -> int:
        """Pixels between two scores."""
        return score_stride(self.score_map.shape[-2:], self.size)

    def logits(self) -> Float[Tensor, "classes height width"]:
        """Return the scores of every pixel."""
        return upsample_scores(self.score_map[None], self.size)[0]


class Scenes:
    """Keeps scenes under names that cannot be guessed, so that no page sees the images of another.

    Args:
        capacity: bytes; beyond them, the scenes that have not been used for longest are dropped.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.scenes: OrderedDict[str, Scene] = OrderedDict()
        self.lock = threading.Lock()

    def add(self, scene: Scene) -> str:
        """Keep a scene, and return its name."""
        name = secrets.token_urlsafe(16)
        with self.lock:
            self.scenes[name] = scene
            while len(self.scenes) > 1 and sum(map(count_bytes, self.scenes.values())) > self.capacity:
                self.scenes.popitem(last=False)
        return name

    def find(self, name: str) -> Scene | None:
        """Return the scene of a name; None if it has been dropped, or there never was one."""
        with self.lock:
            if name in self.scenes:
                self.scenes.move_to_end(name)
            return self.scenes.get(name)


def count_bytes(scene: Scene) -> int:
    """Return the memory that a scene takes."""
    return scene.pixels.nbytes + scene.score_map.nbytes


def shrink(pixels: Picture, side: int) -> Picture:
    """Return an image whose longest side has at most ``side`` pixels; a smaller one as it is."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.array(Image.fromarray(pixels).resize(size, reducing_gap=2.0))
