"""A step is a step of the optimiser, whatever an epoch is: losses equal those of a plain loop in PyTorch."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from src.data import Shapes
from src.data.sampling import ResumableSampler
from src.data.transforms import train_transform
from src.training.callbacks import LastValidation
from src.training.datamodule import AugmentedSamples, SegmentationDataModule, collate
from src.training.resume import ResumeCheckpoint, exact_resume
from src.training.segmenter import Segmenter
from src.training.trainer import build_trainer, count_steps
from tests.models.networks import composed

IMAGES, BATCH, BATCHES = 7, 2, 3  # an epoch has three batches
NETWORK = ("backbone.width=0.0625", "head.dropout=0", "optimizer.lr=0.05")
DATA = partial(Shapes, samples={"train": IMAGES, "val": 1}, size=65)
AUGMENTATION = train_transform(65, scale=(0.5, 1.5))


class Watch(L.Callback):
    """Records losses by batch, steps of validations and learning rates by step; sends SIGTERM after a batch."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.losses: dict[int, float] = {}
        self.steps: dict[int, int] = {}
        self.rates: list[float] = []
        self.validations: list[int] = []

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        self.length = count_steps(trainer)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        number = trainer.fit_loop.total_batch_idx + 1
        self.losses[number] = float(outputs["loss"]) * trainer.accumulate_grad_batches  # Lightning divides by it
        self.steps[number] = trainer.global_step
        if number == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        self.validations.append(trainer.global_step)


def segmenter(*overrides: str) -> Segmenter:
    torch.manual_seed(0)
    config = composed(*NETWORK, *overrides)
    parts = {key: OmegaConf.to_container(config[key]) for key in Segmenter.CONFIGS}
    return Segmenter(**parts, classes=list(Shapes.classes), palette=Shapes.palette.tolist())


def train(folder: Path, watch: Watch, *overrides: str, ckpt: Path | None = None, **settings: Any) -> L.Trainer:
    own = [watch, LastValidation(), ResumeCheckpoint(str(folder / "last.ckpt")), *exact_resume(seed=3)]
    config = OmegaConf.create({
        **OmegaConf.to_container(composed().trainer, resolve=False),
        "accelerator": "cpu", "devices": 1, "precision": "32-true", "default_root_dir": str(folder),
        "num_sanity_val_steps": 0, **settings,
    })  # fmt: skip
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = build_trainer(config, callbacks=own, **options)
    datamodule = SegmentationDataModule(DATA, AUGMENTATION, BATCH, 0, seed=3)
    trainer.fit(segmenter(*overrides), datamodule, ckpt_path=ckpt, weights_only=True)
    return trainer


def plain_losses(batches: int, accumulate: int, steps: int, clip: float | None = None) -> list[float]:
    """Return the losses of so many batches, epoch after epoch, with a step after every ``accumulate`` batches."""
    module = segmenter()
    model, loss = module.model.train(), module.loss
    optimizer = instantiate(module.optimizer_config, model)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, 0.9)
    samples = AugmentedSamples(DATA(split="train"), AUGMENTATION)
    losses: list[float] = []
    sampler = ResumableSampler(IMAGES, BATCH, 3, lambda: len(losses))
    while len(losses) < batches:
        for batch in DataLoader(samples, BATCH, sampler=sampler, collate_fn=collate):
            value = loss(model(batch["image"]), batch["label"])
            (value / accumulate).backward()
            losses.append(float(value))
            if len(losses) % accumulate == 0:
                if clip is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
    return losses[:batches]


@pytest.mark.parametrize(("accumulate", "steps", "clip"), [(2, 3, None), (4, 2, None), (1, 2, 0.1)])
def test_losses_are_those_of_a_plain_loop(tmp_path: Path, accumulate: int, steps: int, clip: float | None) -> None:
    watch = Watch()
    train(tmp_path, watch, max_steps=steps, accumulate_grad_batches=accumulate, gradient_clip_val=clip)
    assert list(watch.steps.values()) == [batch // accumulate for batch in range(1, accumulate * steps + 1)]
    assert list(watch.losses.values()) == pytest.approx(
        plain_losses(accumulate * steps, accumulate, steps, clip), rel=1e-5
    )


@pytest.mark.parametrize("stop", [2, 3, 5])  # within a step, at an epoch's end, within a step over an epoch's end
def test_a_resumed_run_accumulates_over_epochs_too(tmp_path: Path, stop: int) -> None:
    before, after = Watch(stop), Watch()
    settings = {"max_steps": 2, "accumulate_grad_batches": 4}
    with pytest.raises(SystemExit):
        train(tmp_path, before, **settings)
    train(tmp_path / "after", after, ckpt=tmp_path / "last.ckpt", **settings)
    losses = before.losses | after.losses
    assert list(losses) == list(range(1, 9))
    assert list(losses.values()) == pytest.approx(plain_losses(8, 4, 2), rel=1e-5)


def test_the_validation_interval_counts_steps(tmp_path: Path) -> None:
    watch = Watch()
    train(tmp_path, watch, max_steps=5, val_check_interval=2, accumulate_grad_batches=2)
    assert watch.validations == [2, 4, 5]


def test_a_validation_after_every_epoch(tmp_path: Path) -> None:
    watch = Watch()
    train(tmp_path, watch, max_steps=-1, max_epochs=3, check_val_every_n_epoch=1)
    assert watch.validations == [BATCHES, 2 * BATCHES, 3 * BATCHES]


def test_epochs_that_end_within_a_step(tmp_path: Path) -> None:
    """Two epochs of three batches are one step of four, and two batches without a step."""
    watch = Watch()
    train(tmp_path, watch, max_steps=-1, max_epochs=2, accumulate_grad_batches=4)
    assert watch.length == 1
    assert watch.steps[6] == 1


def test_part_of_an_epoch_is_followed_by_the_rest(tmp_path: Path) -> None:
    """With limit_train_batches, the samples have the order of a plain loop."""
    watch = Watch()
    train(tmp_path, watch, max_steps=5, limit_train_batches=2)
    assert list(watch.losses.values()) == pytest.approx(plain_losses(5, 1, 5), rel=1e-5)


def test_warm_up_rises_and_decay_follows(tmp_path: Path) -> None:
    watch = Watch()
    train(tmp_path, watch, "scheduler=poly_warmup", "scheduler.warmup=2", max_steps=4)
    assert watch.rates == pytest.approx([0.05 * share * (1 - t / 4) ** 0.9 for t, share in enumerate((0.5, 1, 1, 1))])
