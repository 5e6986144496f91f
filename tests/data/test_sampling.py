"""Draws of samples: equal for equal seeds, whichever worker makes them, and different from each other."""

import numpy as np
import pytest
import torch

from src.data import Shapes, train_transform
from src.data.sampling import Draw, ResumableSampler
from src.training.datamodule import SegmentationDataModule


class OneImage(Shapes):
    """A data set that always returns the same image, so that only the augmentation differs."""

    def __getitem__(self, index):
        return super().__getitem__(0)


def batches(seed: int, workers: int) -> list[torch.Tensor]:
    dataset = lambda split: OneImage(split, {"train": 8, "val": 1}, size=65)  # noqa: E731
    loader = SegmentationDataModule(dataset, train_transform(65, (0.5, 2)), 4, workers, seed).train_dataloader()
    return [batch["image"] for batch in loader]


@pytest.mark.parametrize("workers", [0, 2])
def test_draws_depend_on_the_seed_only_and_differ(workers):
    found = batches(seed=0, workers=workers)
    assert all(map(torch.equal, found, batches(seed=0, workers=0)))
    assert not any(map(torch.equal, found, batches(seed=1, workers=0)))
    images = [image.numpy().tobytes() for batch in found for image in batch]
    assert len(set(images)) == len(images)


def test_every_draw_of_every_process_and_epoch_has_a_seed_of_its_own():
    draws: list[Draw] = []
    for epoch in range(5):
        for rank in (0, 1):
            draws += ResumableSampler(40, 8, 7, lambda epoch=epoch: 5 * epoch, rank=rank, processes=2)
    assert len(draws) == 200
    assert len({draw.seed for draw in draws}) == 200
    assert np.bincount([draw.sample for draw in draws]).tolist() == [5] * 40
