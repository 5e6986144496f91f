"""Outline the parts of a label map with polygons, so that drawing them restores the label map.

Coordinates are continuous, as in ``src.data.convert.regions``: the pixel in row 0 and column 0 covers 0 to 1 on both
axes. An outline follows the edges of pixels and cuts off half a pixel at each corner. It encloses the centres of
exactly the part's pixels, and needs few points for an oblique line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from src.labels import LabelMap

Polygon = Float[np.ndarray, "corners 2"]  # x, y


class Part(NamedTuple):
    """Pixels of one class that are connected along rows and columns.

    Attributes:
        label: index of the class.
        area: number of pixels.
        box: left, top, width and height in pixels.
        polygons: one, or several adjacent ones if the part has holes, because polygons have no holes.
    """

    label: int
    area: int
    box: tuple[int, int, int, int]
    polygons: list[Polygon]


def find_parts(label: LabelMap, without: Collection[int] = ()) -> Iterator[Part]:
    """Yield the parts of all classes in a label map, class by class.

    Args:
        label: the label map.
        without: labels to skip.
    """
    for index in np.unique(label).tolist():
        if index not in without:
            for area, box, pixels in connected_parts(label == index):
                yield Part(index, area, box, list(polygons_of(pixels, box[0], box[1])))


def connected_parts(
    mask: Bool[np.ndarray, "height width"],
) -> Iterator[tuple[int, tuple[int, int, int, int], Bool[np.ndarray, "rows columns"]]]:
    """Yield the area, box (left, top, width, height) and mask within the box of each part of a mask."""
    _, numbers, boxes, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    for number, (left, top, width, height, area) in enumerate(boxes[1:].tolist(), start=1):
        yield area, (left, top, width, height), numbers[top : top + height, left : left + width] == number


def polygons_of(pixels: Bool[np.ndarray, "rows columns"], left: int, top: int) -> Iterator[Polygon]:
    """Yield the polygons of one part; a part with holes is cut along rows through them.

    Args:
        pixels: the part within its box.
        left, top: position of the box.
    """
    outline, *holes = trace(pixels)
    if not holes:
        yield cut_corners(outline + np.array((left, top)))
        return
    rows = sorted((hole[:, 1].min() + hole[:, 1].max()) // 2 for hole in holes)
    cut = int(rows[len(rows) // 2])  # through a hole in the middle, so that few cuts are needed
    for first, half in ((0, pixels[:cut]), (cut, pixels[cut:])):
        for _, (x, y, _, _), piece in connected_parts(half):
            yield from polygons_of(piece, left + x, top + first + y)


def trace(pixels: Bool[np.ndarray, "rows columns"]) -> list[Int[np.ndarray, "corners 2"]]:
    """Return the corners of a part's outline, followed by those of its holes, on the edges of pixels."""
    doubled = cv2.resize(pixels.view(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    # OpenCV's contours run through the centres of the outermost pixels. Here each pixel is doubled: the first half is
    # at its left edge, the second at its right edge. Half of the coordinate, rounded up, is that of the edge.
    corners = [(contour[:, 0] + 1) // 2 for contour in contours]
    rings = [ring[(ring != rotated(ring, -1)).any(1)] for ring in corners]
    return sorted(rings, key=lambda ring: (ring[:, 1].min(), ring[:, 0].min()))


def cut_corners(ring: Int[np.ndarray, "corners 2"]) -> Polygon:
    """Return an outline with half a pixel cut off at each corner, without points on straight lines."""
    following = rotated(ring, 1)
    half = np.sign(following - ring) / 2
    points = np.stack([ring + half, following - half], 1).reshape(-1, 2)
    points = points[(points != rotated(points, -1)).any(1)]  # edges of length 1 have two equal midpoints
    after = rotated(points, 1) - points
    before = rotated(after, -1)
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def rotated(points: np.ndarray, places: int) -> np.ndarray:
    """Return points in the same cyclic order, starting at an index; ``np.roll`` is much slower."""
    return np.concatenate([points[places:], points[:places]])
