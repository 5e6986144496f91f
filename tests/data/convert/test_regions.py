"""Polygons and run lengths become the pixels that hand arithmetic and COCO's own tools find."""

import math

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from src.data.convert.regions import Bitmap, Polygons, Region, Runs, decode_counts, ellipse, rectangle


def pixels(region: Region, height: int, width: int) -> np.ndarray:
    """Return the region as a mask of the whole image."""
    top, left, inside = region.patch(height, width)
    mask = np.zeros((height, width), bool)
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return mask


def polygon(*corners: tuple[float, float]) -> Polygons:
    return Polygons([np.array(corners, float)])


def test_a_rectangle_covers_the_pixels_whose_centres_it_holds() -> None:
    mask = pixels(polygon((1, 2), (4, 2), (4, 5), (1, 5)), 8, 8)
    expected = np.zeros((8, 8), bool)
    expected[2:5, 1:4] = True
    assert (mask == expected).all()


@pytest.mark.parametrize(("edge", "columns"), [(3.4, 3), (3.6, 4)])
def test_half_a_pixel_decides(edge: float, columns: int) -> None:
    assert pixels(polygon((0, 0), (edge, 0), (edge, 4), (0, 4)), 4, 6).sum() == 4 * columns


def test_two_polygons_side_by_side_share_no_pixel_and_leave_no_gap() -> None:
    left = pixels(polygon((0, 0), (5.5, 0), (2.5, 10), (0, 10)), 10, 10)
    right = pixels(polygon((5.5, 0), (10, 0), (10, 10), (2.5, 10)), 10, 10)
    assert (left ^ right).all()


def test_a_polygon_that_crosses_itself_has_a_hole() -> None:
    ring = [(0, 0), (9, 0), (9, 9), (0, 9), (0, 0), (3, 3), (3, 6), (6, 6), (6, 3), (3, 3)]
    mask = pixels(polygon(*ring), 9, 9)
    assert not mask[3:6, 3:6].any()
    assert mask.sum() == 81 - 9


def test_the_polygons_of_an_object_are_united() -> None:
    rings = [rectangle(0, 0, 4, 4), rectangle(2, 2, 6, 6)]
    assert pixels(Polygons(rings), 8, 8).sum() == 16 + 16 - 4


@pytest.mark.parametrize("shift", [(-3, 0), (5, 0), (0, -3), (0, 5), (-100, -100), (1e9, 0)])
def test_what_lies_outside_is_cut_off(shift: tuple[float, float]) -> None:
    mask = pixels(Polygons([rectangle(0, 0, 6, 6) + shift]), 8, 8)
    whole = np.zeros((24, 24), bool)
    top, left = (int(min(max(value, -8), 8)) + 8 for value in reversed(shift))
    whole[top : top + 6, left : left + 6] = True
    assert (mask == whole[8:16, 8:16]).all()


@pytest.mark.parametrize("seed", range(20))
def test_polygons_agree_with_coco_up_to_the_outline(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(20, 90, 2).tolist()
    angles = np.sort(random.uniform(0, 2 * math.pi, 9))
    radii = random.uniform(5, 50, 9)
    ring = np.stack([width / 2 + radii * np.cos(angles), height / 2 + radii * np.sin(angles)], 1)
    ours = pixels(Polygons([ring]), height, width)
    (encoded,) = coco_masks.frPyObjects([ring.ravel().tolist()], height, width)
    theirs = coco_masks.decode(encoded).astype(bool)
    length = np.hypot(*(ring - np.roll(ring, -1, 0)).T).sum()
    assert (ours ^ theirs).sum() < 0.1 * length
    runs = Runs(decode_counts(encoded["counts"].decode()).tolist(), height, width, by_column=True)
    assert (pixels(runs, height, width) == theirs).all()


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_of_any_mask_are_decoded(seed: int) -> None:
    mask = np.random.default_rng(seed).random((300, 200)) < 0.1 * seed
    mask[:, 50:150] = seed % 2  # long runs
    counts = coco_masks.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    assert (pixels(Runs(decode_counts(counts).tolist(), 300, 200, by_column=True), 300, 200) == mask).all()


def test_broken_run_lengths() -> None:
    with pytest.raises(ValueError, match="' ' cannot occur"):
        decode_counts("1 2")
    with pytest.raises(ValueError, match="cut off"):
        decode_counts("P")


def test_runs_along_rows_at_a_place() -> None:
    mask = pixels(Runs([1, 2, 3], 2, 3, by_column=False, top=1, left=2), 4, 4)
    assert np.argwhere(mask).tolist() == [[1, 3]]  # the second pixel lies outside
    assert np.argwhere(pixels(Bitmap(np.ones((2, 2), bool), -1, 3), 4, 4)).tolist() == [[0, 3]]


def test_an_ellipse_has_its_area() -> None:
    mask = pixels(Polygons([ellipse(50, 40, 30, 20, 30)]), 80, 100)
    assert mask.sum() == pytest.approx(math.pi * 30 * 20, rel=0.005)
    rows, columns = np.nonzero(mask)
    assert np.corrcoef(rows, columns)[0, 1] > 0.3  # turned clockwise: from top left to bottom right


def test_a_turned_rectangle() -> None:
    mask = pixels(Polygons([rectangle(2, 4, 8, 6, 90)]), 10, 10)
    assert (np.argwhere(mask).min(0).tolist(), np.argwhere(mask).max(0).tolist()) == ([2, 4], [7, 5])
