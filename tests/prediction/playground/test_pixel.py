"""The kernel between one pixel and all others, against hand arithmetic."""

from math import exp

import numpy as np
import pytest

from src.crf import Parameters
from src.prediction.playground.pixel import kernel_from


def test_both_kernels_add_up() -> None:
    """Distances 1 and 2; squared colour distances 100 and 2500, so w1's exponents are -5/8 and -13."""
    pixels = np.array([[[0, 0, 0], [0, 0, 10], [30, 40, 0]]], np.uint8)
    kernel = kernel_from(pixels, 0, 0, Parameters(w1=2, sxy=2, srgb=10, w2=3, sg=1))
    assert kernel.tolist() == [pytest.approx([5, 2.890115, 0.406010], abs=1e-6)]


def test_rows_and_columns_have_their_own_width() -> None:
    kernel = kernel_from(np.zeros((3, 3, 3), np.uint8), 1, 1, Parameters(w1=1, sxy=(1, 2), srgb=5, w2=0))
    assert kernel[1, 1] == 1
    assert kernel[0, 1] == kernel[2, 1] == pytest.approx(exp(-1 / 2))
    assert kernel[1, 0] == kernel[1, 2] == pytest.approx(exp(-1 / 8))
    assert kernel[0, 0] == pytest.approx(exp(-5 / 8))


def test_dark_and_bright_pixels_do_not_wrap_around() -> None:
    pixels = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert kernel_from(pixels, 0, 1, Parameters(w1=1, sxy=100, srgb=10, w2=0))[0, 0] < 1e-300
