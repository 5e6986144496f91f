"""The ends of trainings: early, out of time, by a signal; and settings that are refused at the start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.faults.accidents import action_at_step
from tests.faults.commands import logged_values, run_folders
from tests.trainings import SMALL

EVERY_STEP = "trainer.val_check_interval=1"
LONG = ("crf=none", "trainer.max_steps=5000", "trainer.val_check_interval=5000")


def train(folder: Path, *overrides: str, status: int = 0) -> str:
    """Run a training and return what it printed."""
    done = run_command("train", *SMALL, f"paths.log_dir={folder}", *overrides)
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    assert "Traceback" not in output
    return output


def test_early_stopping_logs_step_and_reason(tmp_path: Path) -> None:
    """Without a learning rate, and with a margin that no validation reaches, patience ends after the third."""
    stopping = (
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=2",
        "callbacks.early_stopping.min_delta=1",
    )
    output = train(tmp_path, *stopping, "crf=none", "trainer.max_steps=20", "trainer.val_check_interval=2")
    assert re.search(r"stopped early at step 6: val/miou has not improved on 0\.\d+ for 2 validations", output)


def test_early_stopping_logs_a_metric_that_is_nan(tmp_path: Path) -> None:
    """No validation image contains a ring, so its IoU is NaN, and Lightning stops."""
    stopping = ("callbacks=early_stopping", "callbacks.early_stopping.monitor=val/iou/ring")
    output = train(tmp_path, *stopping, "crf=none", "dataset.samples.val=3", "trainer.max_steps=2", EVERY_STEP)
    assert "stopped early at step 1: Monitored metric val/iou/ring = nan is not finite." in output


def test_max_time_counts_one_process(tmp_path: Path) -> None:
    """A run that is out of time continues with the same command."""
    limit = "trainer.max_time={seconds: 0.001}"
    assert "trainer.max_time was reached at step 1 of 5000" in train(tmp_path, *LONG, limit)
    assert "trainer.max_time was reached at step 2 of 5000" in train(tmp_path, *LONG, limit, "ckpt=last")


def test_a_finished_run_logs_epochs_that_it_did_not_reach_and_has_nothing_left_to_train(tmp_path: Path) -> None:
    output = train(tmp_path, "crf=none", "trainer.max_steps=1", "trainer.max_epochs=5")
    assert "trainer.max_steps=1 ended the run before trainer.max_epochs=5; for all epochs, set" in output
    assert "its 1 step is done; nothing is left to train" in train(
        tmp_path, "crf=none", "trainer.max_steps=1", "ckpt=last"
    )


def test_the_crf_runs_in_every_second_validation_and_the_best_is_one_of_them(tmp_path: Path) -> None:
    every = ("callbacks.crf.every_n_validations=2", "callbacks.best.monitor=val/miou_crf")
    train(tmp_path, *every, "trainer.max_steps=3", "trainer.val_check_interval=1", "logger=csv")
    figures = logged_values(run_folders(tmp_path))
    assert {step for step, name, _ in figures if name == "val/miou"} == {
        "0",
        "1",
        "2",
        "3",
    }  # 3: of the best, at the end
    assert {step for step, name, _ in figures if name == "val/miou_crf"} == {"0", "2", "3"}


@pytest.mark.parametrize("kind", ["INT", "HUP", "USR1"])  # TERM: tests/integration/test_faults.py
def test_a_signal_ends_the_step_and_leaves_a_checkpoint(tmp_path: Path, kind: str) -> None:
    numbers = {"INT": 2, "HUP": 1, "USR1": 10}
    output = train(tmp_path, *LONG, action_at_step(f"send SIG{kind}", 2), status=128 + numbers[kind])
    (last,) = tmp_path.rglob("last.ckpt")
    assert f"SIG{kind} at step 2; resume with ckpt={last}" in output


def test_a_signal_to_the_process_group_does_not_end_the_workers(tmp_path: Path) -> None:
    output = train(tmp_path, *LONG, "data.num_workers=2", action_at_step("send SIGTERM to group", 2), status=143)
    assert "SIGTERM at step 2; resume with" in output


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("callbacks.best.monitor=val/los",), "callbacks.best.monitor=val/los: no such metric. Did you mean val/loss?"),
        (("callbacks.best.monitor=val/miou_crf", "crf=none"), "callbacks.best.monitor=val/miou_crf: needs a CRF"),
        (
            ("callbacks=early_stopping", "callbacks.early_stopping.monitor=val/loss"),
            "callbacks.early_stopping.mode=max: the best val/loss is the minimum; set mode=min",
        ),
        (
            ("callbacks=early_stopping", "callbacks.early_stopping.monitor=null"),
            "callbacks.early_stopping.monitor=null: name the metric to monitor",
        ),
        (("callbacks.best.mode=null",), "callbacks.best.mode=null: the best val/miou is the maximum"),
        (("callbacks.best.monitor=3",), "callbacks.best.monitor=3: no such metric"),
        (("callbacks=early_stopping", "callbacks.early_stopping.patience=-1"), "takes a whole number, 0 or more"),
        (("trainer.accumulate_grad_batches=0",), "trainer.accumulate_grad_batches takes a whole number, 1 or more"),
        (("trainer.max_time=soon",), "trainer.max_time takes null, or DD:HH:MM:SS"),
        (
            ("trainer.gradient_clip_val=1", "trainer.gradient_clip_algorithm=foo"),
            "gradient_clip_algorithm` foo is invalid",
        ),
        (("trainer.strategy=foo",), "invalid strategy name"),
        (("trainer.strategy=ddp_spawn",), "trainer.strategy=ddp_spawn: cannot"),
        (("trainer.strategy=ddp_notebook",), "trainer.strategy=ddp_notebook: cannot"),
        (("trainer.plugins=foo",), "trainer.plugins takes null, or a list of plugins"),
        (("trainer._target_=collections.Counter",), "trainer._target_=collections.Counter: not a lightning.Trainer"),
        (("trainer.num_nodes=2",), "trainer.num_nodes=2: the nodes cannot find each other"),
        (("trainer.devices=3000",), "trainer.devices=3000: too many processes for this machine"),
        (
            ("+callbacks.x._target_=collections.Counter",),
            "=collections.Counter: not a Lightning callback",
        ),
        (("trainer.devices=3",), "data.batch_size=4: cannot be divided among 3 devices"),
        (("trainer.deterministic=maybe",), "trainer.deterministic takes true, false or warn"),
        (("trainer.use_distributed_sampler=true",), "trainer.use_distributed_sampler=true: set it to false"),
        (("trainer.logger=false",), "Did you mean the group logger=csv|"),
    ],
)
def test_wrong_settings_are_refused_before_training(tmp_path: Path, overrides: tuple[str, ...], line: str) -> None:
    output = train(tmp_path, *overrides, status=2)
    assert line in output
    assert "Parameter groups" not in output
