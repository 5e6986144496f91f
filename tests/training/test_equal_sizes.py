"""Validation images of one size are predicted together, as on a GPU, with the results of one at a time."""

from __future__ import annotations

from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from src.crf import DenseCRF
from src.data import Shapes
from src.data.dataset import Sample
from src.training.callbacks import CRFRefinement
from src.training.datamodule import Batch, ValidationDataModule
from src.training.equal_sizes import WAITING, EqualSizes
from src.training.segmenter import Segmenter
from src.training.validation import LabelledImage
from tests import checkpoints

SIZES = ((40, 56), (56, 40), (40, 56), (40, 56), (32, 32), (56, 40), (40, 56))  # of seven images


class MixedSizes(Shapes):
    """Shapes cut to several sizes."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        rows, columns = map(slice, SIZES[index])
        return sample._replace(image=sample.image[rows, columns], label=sample.label[rows, columns])


def one(position: int, size: tuple[int, int]) -> Batch:
    image = torch.full((1, 3, *size), position, dtype=torch.uint8)
    return {"image": image, "label": image[:, 0], "id": [f"image {position}"]}


def positions(join: EqualSizes, sizes: tuple[tuple[int, int], ...]) -> tuple[list[list[int]], list[list[int]]]:
    """Return the positions in the batches that are yielded on the way, and in the rest."""
    steps = [list(join.add(position, one(position, size))) for position, size in enumerate(sizes)]
    for found, batch in [pair for pairs in steps for pair in pairs]:
        assert batch["image"][:, 0, 0, 0].tolist() == batch["label"][:, 0, 0].tolist() == found
        assert batch["id"] == [f"image {position}" for position in found]
    return [found for pairs in steps for found, _ in pairs], [found for found, _ in join.rest()]


def test_images_of_one_size_come_together() -> None:
    """Two images of 40 x 56 pixels have no more than 5000, three of them have."""
    assert positions(EqualSizes(pixels=5000), SIZES) == ([[0, 2], [1, 5], [3, 6]], [[4]])


def test_large_images_come_alone_and_at_once() -> None:
    assert positions(EqualSizes(pixels=40 * 56), SIZES[:4]) == ([[0], [1], [2], [3]], [])
    assert positions(EqualSizes(pixels=0), SIZES[:2]) == ([[0], [1]], [])


def test_few_images_wait_however_many_sizes_there_are() -> None:
    sizes = tuple((8, 8 + number) for number in range(WAITING + 2))
    early, rest = positions(EqualSizes(), sizes)
    assert early == [[0], [1], [2]]
    assert len(rest) == WAITING - 1


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return checkpoints.segmenter()


def validate(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, pixels: int) -> tuple[Any, Any, list[int]]:
    """Return the metrics, the labels by position and method, and the sizes of the batches."""
    labels: dict[Any, Tensor] = {}
    batches: list[int] = []
    monkeypatch.setattr("src.training.segmenter.EqualSizes", lambda _: EqualSizes(pixels))
    inference = segmenter.inference

    def count_images(network: Any, images: Tensor) -> Tensor:
        batches.append(len(images))
        return inference(network, images)

    def keep_label(image: LabelledImage) -> None:
        labels[image.position, image.method] = image.prediction.clone()

    with monkeypatch.context() as patch:
        patch.setattr(segmenter, "inference", count_images)
        patch.setattr(segmenter.validation, "readers", [keep_label])
        crf = CRFRefinement(DenseCRF(5, 30, 10), first_n=5)
        trainer = L.Trainer(
            accelerator="cpu", logger=False, callbacks=[crf], enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip
        data = ValidationDataModule(partial(MixedSizes, samples={"val": len(SIZES)}, size=60)(split="val"), 0)
        metrics = trainer.validate(segmenter, datamodule=data, verbose=False)[0]
    return metrics, labels, batches


def test_a_validation_has_the_same_results(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, expected_labels, ones = validate(segmenter, monkeypatch, 0)
    metrics, labels, batches = validate(segmenter, monkeypatch, 7000)
    assert (ones, batches) == ([1] * 7, [3, 2, 1, 1])
    assert metrics == pytest.approx(expected, rel=1e-6)
    assert metrics["val/miou_crf"] != metrics["val/miou"]
    assert labels.keys() == expected_labels.keys()
    assert len(labels) == 7 + 5  # first_n=5: images 0 to 4, whatever the order
    for key, label in labels.items():
        assert torch.equal(label, expected_labels[key])
