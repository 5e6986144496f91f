"""Convert regions as labelling tools store them (polygons, run lengths, bitmaps) to pixels.

Coordinates are continuous: the pixel in row 0 and column 0 covers 0 to 1 on both axes, and belongs to a region if its
centre (0.5, 0.5) does. COCO's tools use the same rule to within a fifth of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Integer

from src.data.dataset import DatasetError
from src.system.counted import counted

Points = Float[np.ndarray, "points 2"]  # x, y


class Patch(NamedTuple):
    """A rectangular part of an image: its first row and column, and a mask of the region's pixels."""

    top: int
    left: int
    inside: Bool[np.ndarray, "height width"]


class Region(Protocol):
    """Pixels of an image."""

    def patch(self, height: int, width: int) -> Patch:
        """Return the region's pixels in an image of this size, cropped to it."""


@dataclass(frozen=True)
class Polygons:
    """An object of one or more polygons. Within a polygon, overlaps are holes (even-odd); polygons are united.

    Args:
        rings: the corners of each polygon, three or more.
        are_fractions: whether coordinates are fractions of the image's sides, as in YOLO, instead of pixels.
    """

    rings: Sequence[Points]
    are_fractions: bool = False

    def patch(self, height: int, width: int) -> Patch:
        """Return the pixels whose centres lie in a polygon."""
        rings = [ring * (width, height) for ring in self.rings] if self.are_fractions else self.rings
        lows = np.floor(np.min([ring.min(0) for ring in rings], 0))
        highs = np.ceil(np.max([ring.max(0) for ring in rings], 0))
        left, top = (int(v) for v in np.clip(lows, 0, (width, height)))
        right, bottom = (int(v) for v in np.clip(highs, 0, (width, height)))
        inside = np.zeros((bottom - top, right - left), bool)
        if inside.size:
            for ring in rings:
                inside |= fill(ring - (left, top), *inside.shape)
        return Patch(top, left, inside)


@dataclass(frozen=True)
class Runs:
    """A run-length encoded mask, background first, whose first pixel is at (top, left).

    Args:
        counts: the run lengths.
        height, width: size of the mask.
        by_column: whether runs follow the columns, as in COCO, or the rows.
    """

    counts: Sequence[int]
    height: int
    width: int
    by_column: bool
    top: int = 0
    left: int = 0

    def patch(self, height: int, width: int) -> Patch:
        """Return the pixels of the odd runs."""
        values = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        inside = values.reshape(self.width, self.height).T if self.by_column else values.reshape(self.height, -1)
        return crop(Patch(self.top, self.left, inside), height, width)


@dataclass(frozen=True)
class Bitmap:
    """A pixel mask whose first pixel is at (top, left)."""

    pixels: Bool[np.ndarray, "height width"]
    top: int = 0
    left: int = 0

    def patch(self, height: int, width: int) -> Patch:
        """Return the pixels."""
        return crop(Patch(self.top, self.left, self.pixels), height, width)


def crop(patch: Patch, height: int, width: int) -> Patch:
    """Return a patch cropped to an image."""
    top, left = max(0, patch.top), max(0, patch.left)
    bottom = min(max(0, patch.top + patch.inside.shape[0]), height)
    right = min(max(0, patch.left + patch.inside.shape[1]), width)
    rows = slice(top - patch.top, max(top, bottom) - patch.top)
    columns = slice(left - patch.left, max(left, right) - patch.left)
    return Patch(top, left, patch.inside[rows, columns])


def fill(ring: Points, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Return the pixels whose centres are in a closed polygon, by the even-odd rule.

    In every row whose centre an edge crosses, it toggles the first pixel to its right; the parity of the toggles along
    a row separates inside from outside. An edge includes its upper end but not its lower one, so corners count once.
    """
    ends = np.stack([ring, np.roll(ring, -1, 0)], 1)
    upper, lower = np.take_along_axis(ends, ends[..., 1:].argsort(1), 1).transpose(1, 2, 0)  # each: x and y of all
    first, last = np.ceil(np.clip((upper[1], lower[1]), 0, height) - 0.5).astype(int)
    rows_crossed = last - first
    edge = np.repeat(np.arange(len(ring)), rows_crossed)
    rows = first[edge] + np.arange(len(edge)) - np.repeat(rows_crossed.cumsum() - rows_crossed, rows_crossed)
    slope = (lower[0] - upper[0])[edge] / (lower[1] - upper[1])[edge]
    crossings = upper[0][edge] + (rows + 0.5 - upper[1][edge]) * slope
    toggles = np.zeros((height, width + 1), bool)
    np.logical_xor.at(toggles, (rows, np.ceil(crossings - 0.5).clip(0, width).astype(int)), True)
    return np.logical_xor.accumulate(toggles, 1)[:, :width]


def rectangle(x0: float, y0: float, x1: float, y1: float, degrees: float = 0.0) -> Points:
    """Return the corners of a rectangle, rotated about its centre, clockwise as seen in the image."""
    return turned(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float), degrees)


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> Points:
    """Return an ellipse as a polygon that deviates from it by less than a hundredth of a pixel."""
    corners = max(16, math.ceil(math.pi / math.acos(1 - 0.01 / max(rx, ry, 0.5))))
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    return turned(np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1), degrees, (x, y))


def turned(points: Points, degrees: float, centre: tuple[float, float] | None = None) -> Points:
    """Return points rotated about their mean or another centre."""
    pivot = points.mean(0) if centre is None else np.array(centre)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (points - pivot) @ np.array([(cos, sin), (-sin, cos)]) + pivot


def read_ring(numbers: Any) -> Points:
    """Return the corners of a polygon; see ``read_points``.

    Raises:
        DatasetError: if there are fewer than three, or they are not points.
    """
    corners = read_points(numbers)
    if len(corners) < 3:
        raise DatasetError(f"its polygon has {counted(len(corners), 'corner')}, and needs 3")
    return corners


def read_points(numbers: Any) -> Points:
    """Return points stored as pairs, or as x, y, x, y, ...

    Raises:
        DatasetError: if they are neither, or not all finite numbers.
    """
    try:
        values = np.array(numbers, float)
    except (TypeError, ValueError) as error:
        raise DatasetError("its outline contains something other than numbers") from error
    if values.ndim == 1 and len(values) % 2 == 0:
        values = values.reshape(-1, 2)
    if values.ndim != 2 or values.shape[1] != 2:
        raise DatasetError("its outline is not a list of pairs x, y")
    if not np.isfinite(values).all():
        raise DatasetError("its outline contains a number that is not finite")
    return values


def decode_counts(text: str) -> Integer[np.ndarray, "runs"]:
    """Return the run lengths of COCO's compressed form.

    Each character, minus 48, has 5 bits of a number, lowest first; bit 5 says that more follow, and the highest bit is
    the sign. From the fourth number on, the difference to the last but one is stored.

    Raises:
        ValueError: if a character is invalid, or the last number is incomplete.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{letter!r} cannot occur in run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise ValueError("the last run length is cut off")
    return np.array(counts, np.int64)
