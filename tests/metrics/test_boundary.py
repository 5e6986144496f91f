"""The boundary F-measure against its definition, computed with loops over pixels."""

import math

import numpy as np
import pytest
import torch

from src.metrics import BoundaryMetrics
from tests.metrics.test_trimap import images

CLASSES = 4
TOLERANCE = 0.06  # of 15 to 40 pixels on a side: 1.3 to 3.4 pixels


def boundary_pixels(labels: np.ndarray, class_: int) -> list[tuple[int, int]]:
    """Return the pixels of a class that have another value above, below, left or right of them."""
    height, width = labels.shape
    return [
        (y, x)
        for y, x in zip(*np.nonzero(labels == class_), strict=True)
        if any(
            0 <= y + dy < height and 0 <= x + dx < width and labels[y + dy, x + dx] != class_
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))
        )
    ]


def share_near(pixels: list[tuple[int, int]], others: list[tuple[int, int]], limit: float) -> float:
    """Return the share of pixels with a distance to the nearest of the others that is less than the limit."""
    hits = [any(math.dist(pixel, other) < limit for other in others) for pixel in pixels]
    return sum(hits) / len(hits) if hits else 0.0


def f_measures(prediction: np.ndarray, truth: np.ndarray, tolerance: float = TOLERANCE) -> dict[int, float]:
    """Return 2 P R / (P + R) by class of the truth."""
    limit = tolerance * math.hypot(*truth.shape)
    scores = {}
    prediction = np.where(truth == 255, 255, prediction)
    for class_ in set(truth.flat) - {255}:
        true, predicted = boundary_pixels(truth, class_), boundary_pixels(prediction, class_)
        precision = share_near(predicted, true, limit)
        recall = share_near(true, predicted, limit)
        scores[class_] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


def measure(pairs: list[tuple[np.ndarray, np.ndarray]], metrics: BoundaryMetrics) -> dict[str, torch.Tensor]:
    for prediction, truth in pairs:
        metrics.update(torch.from_numpy(prediction)[None], torch.from_numpy(truth)[None])
    return metrics.compute()


def test_every_distance_between_boundary_pixels_computed() -> None:
    pairs = images(8)
    pairs[0][1][pairs[0][1] == 3] = 0  # class 3 is in the prediction only, and does not count
    by_image = [f_measures(prediction, truth) for prediction, truth in pairs]
    assert 3 not in by_image[0]
    result = measure(pairs, BoundaryMetrics(CLASSES, TOLERANCE))
    assert result["mean_boundary_f"] == pytest.approx(np.mean([np.mean(list(scores.values())) for scores in by_image]))
    for class_ in range(CLASSES):
        expected = np.mean([scores[class_] for scores in by_image if class_ in scores])
        assert 0.1 < expected < 0.95
        assert result["boundary_f"][class_] == pytest.approx(expected)


def test_a_shift_counts_up_to_the_tolerance() -> None:
    """An image of 480 x 360 has a diagonal of 600, and 0.75 % of it are 4.5 pixels."""
    truth = torch.zeros(360, 480, dtype=torch.uint8)
    truth[:, 200:] = 1
    for shift, expected in ((0, 1), (4, 1), (5, 0)):
        metrics = BoundaryMetrics(2)
        metrics.update(truth.roll(shift, 1).index_fill(1, torch.arange(10), 0), truth)
        assert metrics.compute()["mean_boundary_f"] == expected


def test_hand_arithmetic() -> None:
    """Class 1 is predicted in one of the two places where it is: P = 1, R = 1/2, F = 2/3; class 0 surrounds both."""
    truth, prediction = torch.zeros(30, 60, dtype=torch.uint8), torch.zeros(30, 60, dtype=torch.uint8)
    truth[10, 10] = truth[10, 50] = prediction[10, 10] = 1
    metrics = BoundaryMetrics(3)
    metrics.update(prediction, truth)
    result = metrics.compute()
    assert result["boundary_f"][:2].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert result["boundary_f"][2].isnan()
    assert result["mean_boundary_f"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        ([[0, 0, 1, 1]], [[0, 0, 0, 0]], 0.0),  # nothing predicted of a class, and no boundary of the other
        ([[0, 0, 0, 0]], [[0, 0, 0, 0]], float("nan")),  # no boundaries at all
        ([[0, 0, 0, 0]], [[0, 1, 1, 0]], 0.0),  # boundaries in the prediction only
        ([[255, 255, 255]], [[0, 1, 0]], float("nan")),
        ([[0, 255, 255, 1]], [[0, 0, 1, 1]], 1.0),
    ],
)
def test_absent_and_void(truth: list[list[int]], prediction: list[list[int]], expected: float) -> None:
    metrics = BoundaryMetrics(2, 0.3)
    metrics.update(torch.tensor(prediction), torch.tensor(truth))
    assert metrics.compute()["mean_boundary_f"] == pytest.approx(expected, nan_ok=True)


def test_the_order_and_the_share_of_images_do_not_matter() -> None:
    """Counts of processes are added; so they are to the last bit."""
    pairs = images(9)
    whole = measure(pairs, BoundaryMetrics(CLASSES))
    parts = [BoundaryMetrics(CLASSES) for _ in range(2)]
    for share, metrics in zip((pairs[::-2], pairs[-2::-2]), parts, strict=True):
        for prediction, truth in share:
            metrics.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    parts[0].sums += parts[1].sums
    parts[0].images += parts[1].images
    for name, value in parts[0].compute().items():
        assert torch.equal(value, whole[name])


@pytest.mark.parametrize("tolerance", [0, -1, float("nan")])
def test_tolerance_must_be_positive(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance="):
        BoundaryMetrics(2, tolerance)
