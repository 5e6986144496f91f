"""Images refined in batches, as on a GPU: equal results, and no image that fails or waits because of another."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest
import torch
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.crf.batches import MAX_BATCH, BatchRefiner
from tests.crf.samples import network_like_scores

SIZES = ((33, 41), (25, 33))


@pytest.fixture(autouse=True)
def treated_as_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.crf.inputs.is_on_gpu", lambda scores: True)
    monkeypatch.setattr("src.crf.pool.is_on_gpu", lambda scores: True)


@pytest.fixture
def samples() -> list[tuple[Tensor, Tensor]]:
    """Return images of two sizes in turns, each with its score map."""
    random = torch.Generator().manual_seed(0)
    sizes = [SIZES[number % 2] for number in range(6)]
    images = [torch.randint(256, (3, *size), dtype=torch.uint8, generator=random) for size in sizes]
    return [(image, network_like_scores(image.shape[1:], 5, seed)) for seed, image in enumerate(images)]


def alone(crf: DenseCRF, image: Tensor, score_map: Tensor) -> Tensor:
    """Return the labels from ``__call__`` on one image, which knows no batches."""
    logits = torch.nn.functional.interpolate(
        score_map[None], [8 * (cells - 1) + 1 for cells in score_map.shape[1:]], mode="bilinear", align_corners=True
    )[0, :, : image.shape[1], : image.shape[2]]
    return crf(image, logits=logits).argmax(0).byte()


@pytest.mark.parametrize("prune", [0.0, 0.01])
def test_a_batch_has_the_labels_of_its_images(samples: list[tuple[Tensor, Tensor]], prune: float) -> None:
    crf = DenseCRF(4, 20, 10, prune=prune, engine="torch")
    images, score_maps = (torch.stack(tensors) for tensors in zip(*samples[::2], strict=True))
    labels = crf.refine_labels(images, score_maps)
    assert labels.dtype == torch.uint8
    for number, label in enumerate(labels):
        assert (label != alone(crf, images[number], score_maps[number])).float().mean() < 1e-3


def test_images_of_one_size_are_refined_together(samples: list[tuple[Tensor, Tensor]]) -> None:
    crf, batches = DenseCRF(iterations=1, engine="torch"), []

    class Recorder:
        def refine_labels(self, images: Tensor, score_maps: Tensor, stride: int) -> Tensor:
            batches.append(tuple(images.shape))
            return crf.refine_labels(images, score_maps, stride)

    refiner = BatchRefiner(Recorder(), threading.Lock())
    futures = [refiner.add(*sample, 8) for sample in samples]
    for _ in samples:
        refiner.refine_next()
    assert batches == [(3, 3, *SIZES[0]), (3, 3, *SIZES[1])]
    for sample, future in zip(samples, futures, strict=True):
        assert (future.result(timeout=0) != alone(crf, *sample)).float().mean() < 1e-3

    for _ in range(MAX_BATCH + 1):
        refiner.add(*samples[0], 8)
    batches.clear()
    refiner.refine_next()
    refiner.refine_next()
    assert [batch[0] for batch in batches] == [MAX_BATCH, 1]


def test_an_image_that_fails_does_not_fail_the_others(samples: list[tuple[Tensor, Tensor]]) -> None:
    crf = DenseCRF(iterations=1, engine="torch")
    samples[2][1][0, 0, 0] = torch.nan
    with RefinementPool(crf, workers=2) as pool:
        futures = [pool.refine_labels(*sample) for sample in samples]
        with pytest.raises(ValueError, match="not finite"):
            futures.pop(2).result(10)
        del samples[2]
        for sample, future in zip(samples, futures, strict=True):
            assert (future.result(10) != alone(crf, *sample)).float().mean() < 1e-3


def test_an_abandoned_pool_leaves_no_future_waiting(samples: list[tuple[Tensor, Tensor]]) -> None:
    started, go = threading.Event(), threading.Event()

    class Slow(DenseCRF):
        def refine_labels(self, *arguments: object) -> Tensor:
            started.set()
            go.wait(10)
            return super().refine_labels(*arguments)

    pool = RefinementPool(Slow(iterations=1, engine="torch"), workers=1)
    first = pool.refine_labels(*samples[0])
    assert started.wait(10)
    later = [pool.refine_labels(*sample) for sample in samples[1:]]
    pool.abandon()
    go.set()
    assert first.result(10).shape == SIZES[0]
    for future in later:
        with pytest.raises(CancelledError):
            future.result(10)
