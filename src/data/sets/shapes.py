"""A data set of generated images, so that everything runs without a download.

A class is defined by its outline, not by its colour. Objects are up to half as large as the image, so that their
interiors can only be told apart with a large field of view. Twigs, rays and rings are a few pixels thin and have sharp
edges, which a score map at stride 8 cannot represent, but the CRF can restore.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from src.data.colours import voc_palette
from src.data.dataset import Sample, SegmentationDataset
from src.labels import VOID, LabelMap

Split = Literal["train", "val", "test"]
CLASSES = ("background", "disk", "box", "triangle", "star", "ring", "tree")


class Shapes(SegmentationDataset):
    """Random shapes on a textured background; samples are the same on every machine and in every worker.

    Args:
        split: "train", "val" or "test"; no two splits share a sample.
        samples: number of samples in each split.
        size: side of the square images in pixels; 8k + 1 needs no padding.
        seed: seed of the whole data set.

    Raises:
        ValueError: if an argument is out of range.
    """

    classes = CLASSES
    palette = voc_palette(len(CLASSES))

    def __init__(self, split: Split, samples: Mapping[str, int], size: int = 193, seed: int = 0) -> None:
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
            # Edges are blurred over one pixel, as by a lens.
            alpha = cv2.GaussianBlur(mask[box].astype(np.float32), (3, 3), 0.6)[..., None]
            part += alpha * (texture(rng, part.shape[:2], object_colours(rng, kind)) - part)
            label[box][mask[box] > 0] = kind
        image += 6 * rng.standard_normal(image.shape, np.float32)
        return Sample(image.clip(0, 255).astype(np.uint8), with_void_boundary(label), f"{self.split}_{index:05d}")


def figure(rng: np.random.Generator, kind: str, size: int) -> UInt8[np.ndarray, "height width"]:
    """Return a mask, 0 or 1, of one object of class ``kind`` at a random place, scale and angle."""
    mask = np.zeros((size, size), np.uint8)
    # The radius is log-uniform, as sizes in photographs are: from a tenth of the image's side to a third.
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
    """Fill a polygon in ``mask``; its corners are given by radii and angles around ``centre``."""
    corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    cv2.fillPoly(mask, [corners.astype(np.int32)], 1)


def branch(
    mask: np.ndarray, rng: np.random.Generator, start: np.ndarray, angle: float, length: float, thickness: int
) -> None:
    """Draw a stem that forks until its twigs are too thin."""
    end = start + length * np.array([np.cos(angle), np.sin(angle)])
    cv2.line(mask, tuple(start.astype(int)), tuple(end.astype(int)), 1, thickness)
    if thickness > 6:
        for side in (-1, 1):
            branch(mask, rng, end, angle + side * rng.uniform(0.3, 0.8), length * rng.uniform(0.6, 0.8), thickness - 3)


def rotation(angle: float) -> Float[np.ndarray, "2 2"]:
    """Return the matrix of a rotation by an angle in radians."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def ground_colours(rng: np.random.Generator) -> Float[np.ndarray, "2 3"]:
    """Return two muted colours, RGB in 0..255."""
    return hsv(rng.uniform(0, 1), rng.uniform(0.1, 0.45, 2), rng.uniform(0.3, 0.75, 2))


def object_colours(rng: np.random.Generator, kind: int) -> Float[np.ndarray, "2 3"]:
    """Return two saturated colours, RGB in 0..255; three in four objects have a hue typical of their class."""
    usual = rng.uniform() < 0.75
    hue = kind / len(CLASSES) + rng.normal(0, 0.03) if usual else rng.uniform(0, 1)
    return hsv(hue, rng.uniform(0.5, 1, 2), rng.uniform(0.35, 1) * np.array([1, rng.uniform(0.75, 1)]))


def hsv(hue: float, saturation: np.ndarray, value: np.ndarray) -> Float[np.ndarray, "2 3"]:
    """Return two colours of one hue, RGB in 0..255."""
    colours = np.stack([np.full(2, hue % 1 * 360), saturation, value], 1).astype(np.float32)
    return cv2.cvtColor(colours[None], cv2.COLOR_HSV2RGB)[0] * 255


def texture(
    rng: np.random.Generator, size: tuple[int, int], colours: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "height width 3"]:
    """Return an image that varies between two colours, as clouds, stripes or a gradient."""
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
    """Return a label map with ``width`` void pixels on each side of every boundary, as in VOC's annotation."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return np.where(cv2.dilate(label, kernel) == cv2.erode(label, kernel), label, np.uint8(VOID))
