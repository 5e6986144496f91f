from functools import partial

import numpy as np
import torch

from src.data import Shapes, train_transform
from src.data.datamodule import SegmentationDataModule


def module(train: int, batch_size: int, workers: int = 0) -> SegmentationDataModule:
    dataset = partial(Shapes, samples={"train": train, "val": 3}, size=33)
    return SegmentationDataModule(dataset, train_transform(33), batch_size, workers)


def test_batches_are_uint8_channels_last():
    batch = next(iter(module(8, 4).train_dataloader()))
    assert batch["image"].shape == (4, 3, 33, 33)
    assert batch["image"].dtype == batch["label"].dtype == torch.uint8
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)


def test_fewer_images_than_a_batch_still_make_one():
    batches = list(module(3, 8).train_dataloader())
    assert [len(b["id"]) for b in batches] == [8]
    assert set(batches[0]["id"]) == {f"train_0000{i}" for i in range(3)}


def test_validation_gives_every_image_once_and_untouched():
    datamodule = module(4, 2, workers=1)
    batches = list(datamodule.val_dataloader())
    assert [b["id"][0] for b in batches] == ["val_00000", "val_00001", "val_00002"]
    for index, batch in enumerate(batches):
        assert np.array_equal(batch["image"][0].permute(1, 2, 0).numpy(), datamodule.val_set[index].image)
