"""Validation in two processes: each image once, and the metrics of one process to the last digit."""

import math
from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from omegaconf import OmegaConf

from src.crf import DenseCRF
from src.data import DatasetError, Shapes, train_transform
from src.evaluation.images import ImageScores
from src.training.callbacks import CRFRefinement
from src.training.datamodule import SegmentationDataModule
from src.training.segmenter import Segmenter
from tests.models.networks import composed

IMAGES = 7  # shares of four and three


class Ids(L.Callback):
    """Records the ids that its process has validated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_batch_end(self, trainer, module, outputs, batch, *_) -> None:
        with (self.folder / f"{trainer.global_rank}.txt").open("a") as file:
            file.write(f"{batch['id'][0]}\n")


def segmenter() -> Segmenter:
    torch.manual_seed(0)
    config = composed("backbone.width=0.0625", "model.frozen_norm=true", "optimizer.lr=0")
    parts = {key: OmegaConf.to_container(config[key]) for key in Segmenter.CONFIGS}
    return Segmenter(**parts, classes=list(Shapes.classes), palette=Shapes.palette.tolist())


def figures(folder: Path, processes: int, fit: bool) -> dict[str, float]:
    folder.mkdir()
    dataset = partial(Shapes, samples={"train": 8, "val": IMAGES}, size=65)
    datamodule = SegmentationDataModule(dataset, train_transform(65), batch_size=2, num_workers=0)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp_fork" if processes > 1 else "auto",
        max_steps=1,
        val_check_interval=1,
        num_sanity_val_steps=0,
        limit_val_batches=1.0,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            CRFRefinement(DenseCRF(w1=5, sxy=20, srgb=10, iterations=2, engine="torch"), workers=1),
            Ids(folder),
            ImageScores(str(folder), worst=3),
        ],
    )
    if fit:
        trainer.fit(segmenter(), datamodule)
    else:
        trainer.validate(segmenter(), datamodule, verbose=False)
    return {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}


@pytest.mark.parametrize("fit", [False, True], ids=["validate", "within training"])
def test_two_processes_see_each_image_once_and_find_what_one_finds(tmp_path, fit):
    one, two = figures(tmp_path / "one", 1, fit), figures(tmp_path / "two", 2, fit)
    assert "val/miou" in one
    assert "val/miou_crf" in one
    assert one.keys() == two.keys()
    assert one.pop("val/loss") == pytest.approx(two.pop("val/loss"), rel=1e-6)  # a sum of floats in another order
    assert {k: v for k, v in one.items() if not math.isnan(v)} == {k: v for k, v in two.items() if not math.isnan(v)}
    for name in ("images.csv", "worst.html"):
        assert (tmp_path / "two" / name).read_text() == (tmp_path / "one" / name).read_text()
    assert len((tmp_path / "two" / "images.csv").read_text().splitlines()) == 1 + IMAGES
    shares = [(tmp_path / "two" / f"{rank}.txt").read_text().split() for rank in (0, 1)]
    assert [len(share) for share in shares] == [4, 3]
    assert sorted(shares[0] + shares[1]) == [f"val_{i:05d}" for i in range(IMAGES)]


def test_more_processes_than_images_is_said(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 8)
    dataset = partial(Shapes, samples={"train": 8, "val": IMAGES}, size=65)
    with pytest.raises(DatasetError, match=r"7 validation images cannot be divided among 8 devices; use fewer devices"):
        SegmentationDataModule(dataset, None, batch_size=2, num_workers=0).val_dataloader()
