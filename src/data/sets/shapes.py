"""A generated dataset: figures in the manner of VOC, so that the whole program runs without a download.

What a class is depends on an outline, not on a colour, and objects reach half the image: their plain insides are
only told apart by a large field of view. Twigs, rays and rings are a few pixels thin and edges are crisp in colour,
which is where a score map at stride 8 is blind and the CRF is not.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from src.data.dataset import Sample, SegmentationDataset
from src.data.palette import voc_palette
from src.labels import VOID, LabelMap

Split = Literal["train", "val", "test"]
CLASSES = ("background", "disk", "box", "triangle", "star", "ring", "tree")


class Shapes(SegmentationDataset):
    """Seeded figures over a textured ground; sample i is the same on every machine and in every worker.

    Args:
        split: gives its own samples; they never repeat those of another split.
        samples: how many each split has.
        size: side of the square images in pixels; 8 k + 1 fits the score map exactly.
        seed: of the whole dataset.
    """

    classes = CLASSES
    palette = voc_palette(len(CLASSES))

    def __init__(self, split: Split, samples: Mapping[str, int], size: int = 225, seed: int = 0) -> None:
        if split not in get_args(Split):
            raise ValueError(f"split={split}: must be one of {', '.join(get_args(Split))}")
        if not isinstance(count := samples.get(split), int) or count < 0:
            raise ValueError(f"samples.{split}={count}: must be a whole number, 0 or more")
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"size={size}: must be a whole number of pixels, 1 or more")
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed={seed}: must be a whole number, 0 or more")
        self.key = (seed, get_args(Split).index(split))
        self.split, self.length, self.size = split, count, size

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        rng = np.random.default_rng((*self.key, index))
        image = texture(rng, (self.size, self.size), ground_colours(rng))
        label = np.zeros((self.size, self.size), np.uint8)
        for _ in range(rng.integers(3, 8)):
            kind = int(rng.integers(1, len(CLASSES)))
            mask = figure(rng, CLASSES[kind], self.size)
            x, y, width, height = cv2.boundingRect(mask)
            box = np.s_[max(0, y - 1) : y + height + 1, max(0, x - 1) : x + width + 1]
            part = image[box]
            # Edges are blended over a pixel, as a lens does.
            alpha = cv2.GaussianBlur(mask[box].astype(np.float32), (3, 3), 0.6)[..., None]
            part += alpha * (texture(rng, part.shape[:2], object_colours(rng, kind)) - part)
            label[box][mask[box] > 0] = kind
        image += 6 * rng.standard_normal(image.shape, np.float32)
        return Sample(image.clip(0, 255).astype(np.uint8), with_void_boundary(label), f"{self.split}_{index:05d}")


def figure(rng: np.random.Generator, kind: str, size: int) -> UInt8[np.ndarray, "height width"]:
    """1 on the pixels of one object of class ``kind``, at a random place, scale and angle; 0 elsewhere."""
    mask = np.zeros((size, size), np.uint8)
    # Log-uniform, as object sizes in photographs are: from a tenth of the image's side to a third (as a radius).
    radius = size * np.exp(rng.uniform(np.log(0.15 if kind == "tree" else 0.1), np.log(0.33)))
    centre = rng.uniform(0.1 * size, 0.9 * size, 2)
    angle = rng.uniform(0, 2 * np.pi)
    thickness = int(rng.integers(7, 13))
    if kind == "disk":
        axes = radius * np.array([1, rng.uniform(0.75, 1)])
        cv2.ellipse(mask, (tuple(centre), tuple(2 * axes), np.degrees(angle)), 1, -1)
    elif kind == "ring":
        cv2.circle(mask, tuple(centre.astype(int)), int(radius), 1, max(3, int(radius * rng.uniform(0.2, 0.4))))
    elif kind == "box":
        polygon(mask, centre, radius * np.array([1.0] * 4), angle + np.array([0.25, 0.75, 1.25, 1.75]) * np.pi)
    elif kind == "triangle":
        polygon(mask, centre, radius * np.array([1.0] * 3), angle + np.array([0, 2, 4]) * np.pi / 3)
    elif kind == "star":
        polygon(mask, centre, radius * np.array([1, 0.4] * 5), angle + np.arange(10) * np.pi / 5)
    elif kind == "tree":
        branch(
            mask, rng, centre + np.array([0, radius]), -np.pi / 2 + rng.uniform(-0.2, 0.2), radius * 0.8, thickness + 3
        )
    return mask


def polygon(mask: np.ndarray, centre: np.ndarray, radii: np.ndarray, angles: np.ndarray) -> None:
    """Fill the polygon whose corners are given around ``centre``."""
    corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    cv2.fillPoly(mask, [corners.astype(np.int32)], 1)


def branch(
    mask: np.ndarray, rng: np.random.Generator, start: np.ndarray, angle: float, length: float, thickness: int
) -> None:
    """A stem that forks until its twigs are too thin."""
    end = start + length * np.array([np.cos(angle), np.sin(angle)])
    cv2.line(mask, tuple(start.astype(int)), tuple(end.astype(int)), 1, thickness)
    if thickness > 6:
        for side in (-1, 1):
            branch(mask, rng, end, angle + side * rng.uniform(0.3, 0.8), length * rng.uniform(0.6, 0.8), thickness - 3)


def rotation(angle: float) -> Float[np.ndarray, "2 2"]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def ground_colours(rng: np.random.Generator) -> Float[np.ndarray, "2 3"]:
    """Two muted colours, RGB in 0..255."""
    return hsv(rng.uniform(0, 1), rng.uniform(0.1, 0.45, 2), rng.uniform(0.3, 0.75, 2))


def object_colours(rng: np.random.Generator, kind: int) -> Float[np.ndarray, "2 3"]:
    """Two stronger colours; three objects in four have a hue that is usual for their class, as bananas do."""
    usual = rng.uniform() < 0.75
    hue = kind / len(CLASSES) + rng.normal(0, 0.03) if usual else rng.uniform(0, 1)
    return hsv(hue, rng.uniform(0.5, 1, 2), rng.uniform(0.35, 1) * np.array([1, rng.uniform(0.75, 1)]))


def hsv(hue: float, saturation: np.ndarray, value: np.ndarray) -> Float[np.ndarray, "2 3"]:
    colours = np.stack([np.full(2, hue % 1 * 360), saturation, value], 1).astype(np.float32)
    return cv2.cvtColor(colours[None], cv2.COLOR_HSV2RGB)[0] * 255


def texture(
    rng: np.random.Generator, size: tuple[int, int], colours: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "height width 3"]:
    """A field that goes between two colours: clouds, stripes or a slope."""
    height, width = size
    if (kind := rng.integers(3)) == 0:
        cells = int(rng.integers(3, 12))
        blend = cv2.resize(rng.random((cells, cells), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    else:
        direction = rotation(rng.uniform(0, np.pi))[0].astype(np.float32)
        y, x = np.ogrid[:height, :width]
        along = x.astype(np.float32) * direction[0] + y.astype(np.float32) * direction[1]
        blend = 0.5 + 0.5 * np.sin(along / np.float32(rng.uniform(2, 10))) if kind == 1 else along / max(size)
    return colours[0] + blend.clip(0, 1)[..., None] * (colours[1] - colours[0])


def with_void_boundary(label: LabelMap, width: int = 1) -> LabelMap:
    """Mark ``width`` pixels on each side of every boundary between labels as void, as VOC's annotators did."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return np.where(cv2.dilate(label, kernel) == cv2.erode(label, kernel), label, np.uint8(VOID))
