"""The loaders: batches, skipped samples, and checks of the data."""

import logging
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from src.data import DatasetError, Folder, Shapes, train_transform
from src.training.datamodule import SegmentationDataModule


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


def test_training_samples_stay_uint8_through_workers():
    """Three bytes for each pixel of the image and one for its label; floats would take four times as many."""
    batch = next(iter(module(8, 4, workers=1).train_dataloader()))
    assert batch["image"].numel() * batch["image"].element_size() == 4 * 33 * 33 * 3
    assert batch["label"].numel() * batch["label"].element_size() == 4 * 33 * 33


def test_sample_images_are_augmented_and_always_the_same():
    first, again = (list(module(20, 4).sample_images(4)) for _ in range(2))
    assert [tuple(image.shape) for image in first] == 4 * [(3, 33, 33)]
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert len(list(module(3, 4).sample_images(8))) == 3


def test_a_batch_that_does_not_divide_among_the_devices_is_refused():
    datamodule = module(8, 3)
    datamodule.trainer = SimpleNamespace(global_rank=0, world_size=2)
    with pytest.raises(DatasetError, match=r"^data\.batch_size=3: cannot be divided among 2 devices"):
        datamodule.train_dataloader()


def test_bad_samples_are_skipped_aloud_and_the_rest_is_cached(tmp_path, caplog):
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    for index in range(10):
        Image.new("RGB", (40, 40), (index, 0, 0)).save(tmp_path / f"images/{index}.png")
        Image.new("L", (40, 40), index % 2).save(tmp_path / f"masks/{index}.png")
    Image.new("L", (40, 40), 77).save(tmp_path / "masks/3.png")
    (tmp_path / "images/4.png").write_bytes(b"")
    (tmp_path / "train.txt").write_text("0\n1\n2\n3\n")
    (tmp_path / "val.txt").write_text("4\n5\n6\n")
    dataset = partial(
        Folder, str(tmp_path), classes=["ground", "thing"], on_error="skip", cache=str(tmp_path / "cache")
    )
    datamodule = SegmentationDataModule(dataset, train_transform(33), batch_size=3, num_workers=1)
    with caplog.at_level(logging.WARNING):
        datamodule.check()
    assert "skipped 1 of 4 samples; 3 are left" in caplog.text
    assert "skipped 1 of 3 samples; 2 are left" in caplog.text
    datamodule.setup("fit")
    assert len(list((tmp_path / "cache").glob("*.pack"))) == 2
    for path in tmp_path.glob("*/*.png"):
        path.unlink()  # only the cache is left
    (batch,) = datamodule.train_dataloader()
    assert sorted(batch["id"]) == ["0", "1", "2"]
    assert sorted(batch["image"][:, 0, 0, 0].tolist()) == [0, 1, 2]
    assert [b["id"] for b in datamodule.val_dataloader()] == [["5"], ["6"]]


def test_images_that_are_trained_and_validated_on_are_told(tmp_path, caplog):
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
        for index in range(3):
            Image.new("RGB" if sub == "images" else "L", (40, 40)).save(tmp_path / f"{sub}/{index}.png")
    (tmp_path / "train.txt").write_text("0\n1\n")
    (tmp_path / "val.txt").write_text("1\n2\n")
    dataset = partial(Folder, str(tmp_path), classes=["ground", "thing"])
    SegmentationDataModule(dataset, None, batch_size=1, num_workers=0).check()
    assert f"1 image is in train and in val, such as {tmp_path / 'images/1.png'}" in caplog.text
