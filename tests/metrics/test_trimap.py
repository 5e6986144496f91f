"""The trimap curve against its definition, computed with loops over pixels."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from src.metrics import SegmentationMetrics, TrimapMetrics
from src.metrics.trimap import distance_to_void

CLASSES, WIDTHS = 4, 6


def band(truth: np.ndarray, width: int) -> np.ndarray:
    """Return void dilated by a square of 2 w + 1 pixels, without void itself."""
    inside = np.zeros(truth.shape, bool)
    for y, x in zip(*np.nonzero(truth == 255), strict=True):
        inside[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1] = True
    return inside & (truth != 255)


def images(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return predictions and truths of several sizes, with lines and specks of void; the first truth has no void."""
    rng = np.random.default_rng(seed)
    pairs = []
    for index in range(count):
        size = tuple(rng.integers(15, 40, 2))
        truth = np.kron(rng.integers(0, CLASSES, (10, 10)), np.ones((4, 4), int))[: size[0], : size[1]].astype(np.uint8)
        if index:
            truth[rng.integers(size[0]), : size[1] // 2] = 255
            truth[rng.integers(size[0]), rng.integers(size[1])] = 255
        prediction = np.where(rng.random(truth.shape) < 0.3, rng.integers(0, CLASSES, truth.shape), truth % CLASSES)
        pairs.append((prediction.astype(np.uint8), truth))
    return pairs


def test_distance_is_the_width_of_the_first_band() -> None:
    for _, truth in images(8):
        distance = distance_to_void(torch.from_numpy(truth), 99).numpy()
        assert np.array_equal(distance == 0, truth == 255)
        for width in range(1, WIDTHS + 1):
            assert np.array_equal((distance >= 1) & (distance <= width), band(truth, width))


def test_curve_is_scikit_learns_inside_each_band() -> None:
    metrics, pairs = TrimapMetrics(CLASSES, WIDTHS), images(6)
    for prediction, truth in pairs:
        metrics.update(torch.from_numpy(prediction)[None], torch.from_numpy(truth)[None])
    result = metrics.compute()
    assert result["trimap_miou"].shape == result["trimap_pixel_accuracy"].shape == (WIDTHS,)
    for width in range(1, WIDTHS + 1):
        inside = [band(truth, width) for _, truth in pairs]
        expected = np.concatenate([truth[mask] for (_, truth), mask in zip(pairs, inside, strict=True)])
        found = np.concatenate([prediction[mask] for (prediction, _), mask in zip(pairs, inside, strict=True)])
        assert result["trimap_miou"][width - 1] == pytest.approx(jaccard_score(expected, found, average="macro"))
        assert result["trimap_pixel_accuracy"][width - 1] == pytest.approx(accuracy_score(expected, found))


def test_whole_image_figures_are_those_without_trimap() -> None:
    trimap, plain = TrimapMetrics(CLASSES, WIDTHS), SegmentationMetrics(CLASSES)
    for prediction, truth in images(5):
        for metrics in (trimap, plain):
            metrics.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    for name, value in plain.compute().items():
        torch.testing.assert_close(trimap.compute()[name], value, equal_nan=True)


def test_bands_wider_than_a_byte() -> None:
    """One row of 700 pixels, void at its start; wrong from the 301st pixel on."""
    truth, prediction = torch.zeros(2, 1, 700, dtype=torch.uint8).unbind()
    truth[0, 0] = 255
    prediction[0, 301:] = 1
    metrics = TrimapMetrics(CLASSES, 600)
    metrics.update(prediction, truth)
    accuracy = metrics.compute()["trimap_pixel_accuracy"]
    assert [float(accuracy[width - 1]) for width in (254, 255, 256, 300)] == [1, 1, 1, 1]
    assert float(accuracy[600 - 1]) == pytest.approx(300 / 600)


@pytest.mark.parametrize("widths", [WIDTHS, 300])
def test_without_void_every_band_is_empty(widths: int) -> None:
    metrics = TrimapMetrics(CLASSES, widths)
    metrics.update(torch.zeros(20, 30, dtype=torch.uint8), torch.zeros(20, 30, dtype=torch.uint8))
    assert metrics.compute()["trimap_miou"].isnan().all()
    assert metrics.compute()["miou"] == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_images_smaller_than_the_band(size: tuple[int, int]) -> None:
    truth = torch.zeros(size, dtype=torch.uint8)
    truth[0, 0] = 255
    metrics = TrimapMetrics(2, 3)
    metrics.update(torch.zeros_like(truth), truth)
    pixels = min(3, max(size) - 1)
    assert metrics.rings.sum() == pixels


def test_width_must_be_positive() -> None:
    with pytest.raises(ValueError, match="widths=0"):
        TrimapMetrics(2, 0)
