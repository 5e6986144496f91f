"""IoU against hand arithmetic and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score

from src.metrics import SegmentationMetrics


def test_hand_arithmetic():
    """Truth 0 0 0 1 1 void, prediction 0 0 1 1 0 1: IoU 2/4 and 1/3, 3 of 5 pixels correct; class 2 does not occur."""
    metrics = SegmentationMetrics(3)
    metrics.update(torch.tensor([[0, 0, 1, 1, 0, 1]]), torch.tensor([[0, 0, 0, 1, 1, 255]]))
    result = metrics.compute()
    assert result["iou"][0] == pytest.approx(2 / 4)
    assert result["iou"][1] == pytest.approx(1 / 3)
    assert result["iou"][2].isnan()
    assert result["miou"] == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert result["pixel_accuracy"] == pytest.approx(3 / 5)
    assert result["mean_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_a_class_that_is_only_predicted_has_iou_0():
    metrics = SegmentationMetrics(3)
    metrics.update(torch.tensor([0, 2]), torch.tensor([0, 0]))
    result = metrics.compute()
    assert result["iou"][2] == 0
    assert result["miou"] == pytest.approx((1 / 2 + 0) / 2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_scikit_learn(dtype):
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 5, (4, 30, 40)), rng.integers(0, 5, (4, 30, 40))
    truth[rng.random(truth.shape) < 0.2] = 255
    metrics = SegmentationMetrics(5)
    for t, p in zip(truth, prediction, strict=True):  # image by image: counts must add up
        metrics.update(torch.from_numpy(p).to(dtype), torch.from_numpy(t).to(dtype))
    valid = truth != 255
    assert np.array_equal(metrics.confusion.numpy(), confusion_matrix(truth[valid], prediction[valid]))
    expected = jaccard_score(truth[valid], prediction[valid], average=None)
    np.testing.assert_allclose(metrics.compute()["iou"].numpy(), expected)


@pytest.mark.parametrize("label", [3, 7, -1, 255, 256])
def test_a_prediction_that_is_no_class_is_refused(label: int) -> None:
    """It would count as the next true class; under void, nothing counts."""
    prediction = torch.tensor([0, 1, label])
    metrics = SegmentationMetrics(3)
    with pytest.raises(ValueError, match=r"are not classes \(0\.\.2\)"):
        metrics.update(prediction, torch.tensor([0, 0, 1]))
    metrics.update(prediction, torch.tensor([0, 1, 255]))
    assert metrics.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_void_only_gives_nan():
    metrics = SegmentationMetrics(2)
    metrics.update(torch.zeros(3, 3, dtype=torch.int64), torch.full((3, 3), 255))
    assert metrics.compute()["miou"].isnan()


@pytest.mark.parametrize("label", [2, 77])
def test_unknown_label_is_named(label):
    with pytest.raises(ValueError, match=rf"labels \[{label}\]"):
        SegmentationMetrics(2).update(torch.zeros(2, dtype=torch.int64), torch.tensor([0, label]))


def test_255_classes_fit_beside_void():
    """Class 254 counts, 255 is void, and there can be no class 255."""
    metrics = SegmentationMetrics(255)
    metrics.update(torch.tensor([254, 254, 254]), torch.tensor([254, 253, 255]))
    assert metrics.confusion.nonzero().tolist() == [[253, 254], [254, 254]]
    with pytest.raises(ValueError, match="256 classes: a label map holds 255"):
        SegmentationMetrics(256)
