"""A run that is stopped and resumed has the same losses as an uninterrupted one, to the last digit."""

import csv
import os
import signal
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf

from src.data import Shapes, train_transform
from src.system.errors import UserError
from src.training.callbacks import LastValidation, RunCheckpoint
from src.training.datamodule import SegmentationDataModule
from src.training.resume import ResumeCheckpoint, exact_resume
from src.training.resume.same_run import check_other_settings, check_same_run
from src.training.segmenter import Segmenter
from src.training.trainer import build_trainer
from tests.checkpoints import NO_PROGRESS
from tests.models.networks import composed

STEPS = 8  # epochs of three batches
NARROW = ("backbone.width=0.0625", "head.channels=64")


class Watch(L.Callback):
    """Records losses, ids and validations by step, and stops the run after ``stop`` steps."""

    def __init__(self, stop: int | None = None, how: str = "") -> None:
        self.stop, self.how = stop, how
        self.losses: dict[int, float] = {}
        self.ids: dict[int, list[str]] = {}
        self.miou: dict[int, float] = {}
        self.stop_batch: int | None = None  # SIGTERM at this batch, if batches are not steps

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.losses[trainer.global_step] = float(outputs["loss"])
        self.ids[trainer.global_step] = batch["id"]
        here = trainer.fit_loop.total_batch_idx + 1
        if here == self.stop_batch or (trainer.global_step == self.stop and self.how == "SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)

    def on_before_backward(self, trainer: Any, module: Any, loss: Any) -> None:
        if trainer.global_step == self.stop and self.how == "between iterations":
            raise RuntimeError("accident")  # the checkpoint is that of the previous step

    def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.stop and self.how == "in validation":
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        if not trainer.sanity_checking:
            self.miou[trainer.global_step] = float(trainer.callback_metrics["val/miou"])
        if trainer.global_step == self.stop and self.how == "after validation":
            raise RuntimeError("accident")


def run(
    folder: Path,
    watch: Watch,
    workers: int = 0,
    ckpt: Path | None = None,
    every: int | None = None,
    accumulate: int = 1,
    length: dict[str, int] | None = None,
    images: int = 7,
    scheduler: str = "poly",
    memory_format: str = "channels_last",
    overrides: tuple[str, ...] = (),
) -> L.Trainer:
    config = composed(*NARROW, *overrides, "callbacks=ema", "optimizer.lr=0.05", f"scheduler={scheduler}")
    parts = {key: OmegaConf.to_container(config[key]) for key in Segmenter.CONFIGS}
    torch.manual_seed(7 if ckpt else 0)  # must not depend on where a resumed run begins
    segmenter = Segmenter(**parts, classes=list(Shapes.classes), palette=Shapes.palette.tolist())
    if not ckpt:
        segmenter.set_memory_format(memory_format)
    data = partial(Shapes, samples={"train": images, "val": 2}, size=65)
    datamodule = SegmentationDataModule(data, train_transform(65, scale=(0.5, 1.5)), 2, workers, seed=3)
    checkpoints = folder / "checkpoints"
    own = [
        instantiate(config.callbacks.weight_averaging),
        watch,
        LastValidation(),
        ResumeCheckpoint(str(checkpoints / "last.ckpt"), every_n_steps=every),
        *exact_resume(seed=3),
        RunCheckpoint(checkpoints, "best", monitor="val/miou", mode="max", enable_version_counter=False),
        RunCheckpoint(checkpoints, "last", enable_version_counter=False),
    ]
    settings = OmegaConf.create({
        **OmegaConf.to_container(config.trainer, resolve=False),
        "accelerator": "cpu", "devices": 1, "precision": "32-true", "val_check_interval": 4,
        "default_root_dir": str(folder), "enable_progress_bar": False, "log_every_n_steps": 1,
        "accumulate_grad_batches": accumulate, **(length or {"max_steps": STEPS}),
    })  # fmt: skip
    trainer = build_trainer(settings, callbacks=own, logger=CSVLogger(folder, name="", version=""))
    trainer.fit(segmenter, datamodule, ckpt_path=ckpt, weights_only=True)
    trainer.validate(segmenter, datamodule, verbose=False)
    return trainer


def curve(*folders: Path) -> set[tuple[str, str, str]]:
    """Step, figure and value of whatever was logged."""
    rows = [row for folder in folders for row in csv.DictReader((folder / "metrics.csv").open())]
    return {(row["step"], name, value) for row in rows for name, value in row.items() if value and name != "epoch"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Watch, L.Trainer]:
    watch = Watch()
    return watch, run(tmp_path_factory.mktemp("whole"), watch)


def test_an_epoch_sees_every_image_at_most_once_and_orders_differ(whole: tuple[Watch, L.Trainer]) -> None:
    ids = whole[0].ids
    epochs = [[id_ for step in range(first, first + 3) for id_ in ids[step]] for first in (1, 4)]
    assert all(len(set(epoch)) == 6 for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(
    ("stop", "how", "workers"),
    [
        (2, "SIGTERM", 2),
        (3, "SIGTERM", 0),  # an epoch's end
        (4, "SIGTERM", 0),
        (4, "after validation", 0),
        (4, "in validation", 0),
        (6, "SIGTERM", 0),
        (STEPS, "in validation", 0),  # the last
        (STEPS, "after validation", 0),
        (3, "between iterations", 0),
        (4, "between iterations", 0),
        (5, "between iterations", 2),
    ],
)
def test_resumed_equals_uninterrupted(
    whole: tuple[Watch, L.Trainer], tmp_path: Path, stop: int, how: str, workers: int
) -> None:
    watch, trainer = whole
    before, after = Watch(stop, how), Watch()
    with pytest.raises((RuntimeError, SystemExit)):
        run(tmp_path / "before", before, workers, every=1 if how == "between iterations" else None)
    resumed = run(tmp_path / "after", after, workers, ckpt=tmp_path / "before/checkpoints/last.ckpt")
    # After a fault following a validation, the run resumes from the checkpoint before it, of the same step.
    assert list(after.losses) == list(range(stop + 1, STEPS + 1))
    assert before.losses == {step: loss for step, loss in watch.losses.items() if step <= stop}
    assert after.losses == {step: loss for step, loss in watch.losses.items() if step > stop}
    assert after.ids == {step: ids for step, ids in watch.ids.items() if step > stop}
    assert (before.miou | after.miou) == watch.miou
    assert curve(tmp_path / "before", tmp_path / "after") == curve(Path(trainer.default_root_dir))
    weights, own = (t.lightning_module.state_dict() for t in (trainer, resumed))
    assert all(torch.equal(weights[name], own[name]) for name in weights)
    best, own_best = trainer.checkpoint_callback, resumed.checkpoint_callback
    assert float(own_best.best_model_score) == float(best.best_model_score)
    assert Path(own_best.best_model_path) == tmp_path / "after/checkpoints/best.ckpt"
    kept, own_kept = (torch.load(c.best_model_path, weights_only=True)["state_dict"] for c in (best, own_best))
    assert all(torch.equal(kept[name], own_kept[name]) for name in kept)


def test_a_training_through_the_crf_resumes_exactly(tmp_path: Path) -> None:
    through_crf = ("experiment=crf_rnn",)
    watch, before, after = Watch(), Watch(2, "SIGTERM"), Watch()
    trainer = run(tmp_path / "whole", watch, length={"max_steps": 4}, overrides=through_crf)
    with pytest.raises(SystemExit):
        run(tmp_path / "before", before, length={"max_steps": 4}, overrides=through_crf)
    last = tmp_path / "before/checkpoints/last.ckpt"
    resumed = run(tmp_path / "after", after, ckpt=last, length={"max_steps": 4}, overrides=through_crf)
    assert (before.losses | after.losses, after.miou) == (watch.losses, watch.miou)
    weights, own = (t.lightning_module.state_dict() for t in (trainer, resumed))
    assert all(torch.equal(weights[name], own[name]) for name in weights)
    numbers = "model.crf.mean_field.kernel_weights"
    assert not torch.equal(weights[numbers], torch.tensor([5.0, 3.0]))


@pytest.mark.parametrize(
    ("length", "images", "stops"),
    [
        ({"max_steps": 6}, 7, [6]),  # no multiple of the interval
        ({"max_steps": 8}, 7, [4, 4, 8, 8]),
        ({"max_steps": 12}, 99, [4, 8]),  # within one epoch
        ({"max_steps": -1, "max_epochs": 2}, 7, [6, 6]),
    ],
)
def test_validations_cut_short_are_all_made_good(
    tmp_path: Path, length: dict[str, int], images: int, stops: list[int]
) -> None:
    whole, parts = Watch(), [Watch(stop, "in validation") for stop in stops] + [Watch()]
    trainer = run(tmp_path / "whole", whole, length=length, images=images)
    ckpt = None
    for number, part in enumerate(parts[:-1]):
        with pytest.raises(SystemExit):
            run(tmp_path / str(number), part, ckpt=ckpt, length=length, images=images)
        ckpt = tmp_path / str(number) / "checkpoints/last.ckpt"
    resumed = run(tmp_path / "last", parts[-1], ckpt=ckpt, length=length, images=images)
    losses = [item for part in parts for item in part.losses.items()]
    assert losses == list(whole.losses.items())  # each step once
    assert {step: miou for part in parts for step, miou in part.miou.items()} == whole.miou
    weights, own = (t.lightning_module.state_dict() for t in (trainer, resumed))
    assert all(torch.equal(weights[name], own[name]) for name in weights)


def test_a_length_in_epochs_does_not_change_the_samples(tmp_path: Path) -> None:
    """To find the length, Lightning opens the loader before it has restored the run's position."""
    whole, before, after = Watch(), Watch(4, "SIGTERM"), Watch()
    length = {"max_steps": -1, "max_epochs": 3}
    run(tmp_path / "whole", whole, workers=2, length=length)
    with pytest.raises(SystemExit):
        run(tmp_path / "before", before, workers=2, length=length)
    run(tmp_path / "after", after, workers=2, length=length, ckpt=tmp_path / "before/checkpoints/last.ckpt")
    assert (before.ids | after.ids) == whole.ids
    assert (before.losses | after.losses) == whole.losses


def test_a_finished_run_can_go_on_for_longer(tmp_path: Path) -> None:
    """Where the rate has no end. Its first end is no multiple of the interval: one validation more."""
    run(tmp_path / "whole", Watch(), length={"max_steps": 10}, scheduler="step")
    run(tmp_path / "first", Watch(), length={"max_steps": 6}, scheduler="step")
    run(
        tmp_path / "then",
        Watch(),
        ckpt=tmp_path / "first/checkpoints/last.ckpt",
        length={"max_steps": 10},
        scheduler="step",
    )
    whole, first, then = (
        {row for row in curve(tmp_path / name) if "train" in row[1]} for name in ("whole", "first", "then")
    )
    assert first | then == whole
    assert not first & then


def test_a_finished_run_gone_on_with_says_what_it_said(whole: tuple[Watch, L.Trainer], tmp_path: Path) -> None:
    folder = Path(whole[1].default_root_dir)
    run(tmp_path, Watch(), ckpt=folder / "checkpoints/last.ckpt")
    said = curve(tmp_path)
    assert {step for step, _, _ in said} == {str(STEPS)}
    assert said < curve(folder)


def test_gradients_that_add_up_over_batches_are_kept(tmp_path: Path) -> None:
    """Stopped after the first of two batches that make one step."""
    whole, before, after = Watch(), Watch(), Watch()
    trainer = run(tmp_path / "whole", whole, accumulate=2)
    before.stop_batch = 4
    with pytest.raises(SystemExit):
        run(tmp_path / "before", before, accumulate=2)
    resumed = run(tmp_path / "after", after, ckpt=tmp_path / "before/checkpoints/last.ckpt", accumulate=2)
    weights, own = (t.lightning_module.state_dict() for t in (trainer, resumed))
    assert all(torch.equal(weights[name], own[name]) for name in weights)
    assert (before.miou | after.miou) == whole.miou


def test_weights_and_averages_are_equal_in_the_other_memory_format(tmp_path: Path) -> None:
    """The resumed run takes the format from the checkpoint, after Lightning has copied the network to average it."""
    whole, before, after = Watch(), Watch(5, "SIGTERM"), Watch()
    trainer = run(tmp_path / "whole", whole, memory_format="contiguous")
    with pytest.raises(SystemExit):
        run(tmp_path / "before", before, memory_format="contiguous")
    resumed = run(tmp_path / "after", after, ckpt=tmp_path / "before/checkpoints/last.ckpt")
    assert resumed.lightning_module.memory_format == "contiguous"
    assert (before.losses | after.losses) == whole.losses
    assert (before.miou | after.miou) == whole.miou
    weights, own = (t.lightning_module.state_dict() for t in (trainer, resumed))
    assert all(torch.equal(weights[name], own[name]) for name in weights)


def built(*overrides: str, classes: int = 3) -> Segmenter:
    config = composed("backbone.width=0.0625", "head.channels=32", *overrides)
    parts = {key: OmegaConf.to_container(config[key], resolve=True) for key in Segmenter.CONFIGS}
    return Segmenter(**parts, classes=[f"c{index}" for index in range(classes)], palette=[[0, 0, 0]] * classes)


@pytest.mark.parametrize(
    ("overrides", "classes", "said"),
    [
        (["head=vanilla"], 3, "head.kernel=3 (now 4), head.rate=12 (now 4)"),
        (["backbone=resnet50"], 3, "backbone._target_=src.models.VGG (now src.models.ResNet)"),
        ([], 4, "classes=['c0', 'c1', 'c2'] (now ['c0', 'c1', 'c2', 'c3'])"),
        (["optimizer=adamw"], 3, "optimizer.algorithm=SGD (now AdamW)"),
        (["scheduler=step"], 3, ".PolynomialLR (now torch.optim.lr_scheduler.StepLR)"),
        (["optimizer.lr=0.01"], 3, "optimizer.lr=0.1 (now 0.01)"),
        (["scheduler.power=2"], 3, "scheduler.power=0.9 (now 2)"),
        (["head.dropout=0.1"], 3, "head.dropout=0.5 (now 0.1)"),
        (["crf=none"], 3, ""),
    ],
)
def test_going_on_as_another_run_is_refused(tmp_path: Path, overrides: list[str], classes: int, said: str) -> None:
    first = built()
    file = tmp_path / "last.ckpt"
    torch.save({**NO_PROGRESS, "hyper_parameters": dict(first.hparams), "state_dict": first.state_dict()}, file)
    other = built(*overrides, classes=classes)
    if not said:
        check_same_run(str(file), other, OmegaConf.create({"memory_format": "auto"}))
        return
    with pytest.raises(UserError) as refusal:
        check_same_run(str(file), other, OmegaConf.create({"memory_format": "auto"}))
    assert str(file) in str(refusal.value)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "effect"),
    [
        ("seed", "refused"),
        ("dataset.samples.train", "refused"),
        ("dataset.folder", "refused"),
        ("loss.criterion.path", "refused"),
        ("data.batch_size", "refused"),
        ("callbacks.weight_averaging.avg_fn.decay", "refused"),
        ("trainer.gradient_clip_val", "refused"),
        ("trainer.max_steps", "logged"),
        ("callbacks.pictures.count", "logged"),
        ("dataset.root", "ignored"),
        ("data.num_workers", "ignored"),
        ("callbacks.best.dirpath", "ignored"),
        ("logger.csv.name", "ignored"),
    ],
)
def test_a_setting_that_a_checkpoint_does_not_store(key: str, effect: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with pytest.raises(UserError, match=f"with {key}=1 .now 2.") if effect == "refused" else nullcontext():
        check_other_settings("last.ckpt", {key: 1}, {key: 2})
    assert (f"differs from the resumed run: {key}=1 (now 2)" in caplog.text) == (effect == "logged")


def test_a_rate_that_has_decayed_is_not_trained_on_with(tmp_path: Path, whole: tuple[Watch, L.Trainer]) -> None:
    last = Path(whole[1].default_root_dir) / "checkpoints/last.ckpt"
    with pytest.raises(UserError, match=f"decays over {STEPS} steps .now {STEPS + 4}.: .* trainer.max_steps"):
        run(tmp_path, Watch(), ckpt=last, length={"max_steps": STEPS + 4})


def test_weights_alone_are_no_run_to_go_on_with(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"weights\.pth: not a checkpoint to resume from .* init_from="):
        check_same_run(str(tmp_path / "weights.pth"), built(), OmegaConf.create())


@pytest.mark.parametrize(("key", "value"), [("optimizer_states", None), ("loops", None), ("callbacks", 5)])
def test_a_checkpoint_that_lacks_what_resuming_needs_is_refused(tmp_path: Path, key: str, value: object) -> None:
    file = tmp_path / "last.ckpt"
    first = built()
    network = {"hyper_parameters": dict(first.hparams), "state_dict": first.state_dict()}
    torch.save({**NO_PROGRESS, **network, key: value}, file)
    with pytest.raises(UserError, match=f"to resume from \\(it has no {key}\\); .* init_from="):
        check_same_run(str(file), built(), OmegaConf.create())
