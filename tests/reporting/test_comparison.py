"""Images compared with their true labels."""

import numpy as np
import pytest

from src.reporting.comparison import image_miou


def test_mean_iou_of_an_image_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 255, 2]], np.uint8)
    label = np.array([[0, 1, 1], [1, 3, 1]], np.uint8)
    # 0: 1 of 2; 1: 2 of 4; 2: 0 of 1; 3 only lies on void
    assert image_miou(truth, label, 4) == pytest.approx((1 / 2 + 2 / 4 + 0) / 3)
    assert np.isnan(image_miou(np.full((2, 2), 255, np.uint8), label[:, :2], 4))
