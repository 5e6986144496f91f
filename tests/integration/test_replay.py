"""A resumed run replays the overrides of the stopped run; differences are logged or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.cli.config.replay import changed_defaults, is_replaced
from tests.commands import run_command
from tests.faults.accidents import action_at_step
from tests.faults.commands import logged_values, run_folders
from tests.trainings import SMALL

EMA = "callbacks.weight_averaging.decay=0.99"
RUN = (*SMALL, "crf=none", "head=kernel4x4", "augmentation=scale_jitter", "logger=csv")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the log folder of a run that SIGTERM stopped after one of its four steps."""
    folder = tmp_path_factory.mktemp("stopped")
    stopped = run_command("train", *RUN, action_at_step("terminate", 1), f"paths.log_dir={folder}")
    assert stopped.returncode == 143, stopped.stderr
    return folder


def resume(logs: Path, *overrides: str, status: int = 0) -> str:
    done = run_command("train", f"paths.log_dir={logs}", *overrides)
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    return output


def test_ckpt_last_alone_resumes_the_run(logs: Path, tmp_path: Path) -> None:
    """The next ckpt=last resumes the resumed run, with the same overrides."""
    whole = run_command("train", *RUN, f"paths.log_dir={tmp_path}")
    assert whole.returncode == 0, whole.stderr
    output = resume(logs, "ckpt=last")
    assert "resuming with the overrides of the run: dataset.size=65" in output
    assert "differs from the resumed run" not in output
    resumed = run_folders(logs)
    assert logged_values(resumed) == logged_values(run_folders(tmp_path))
    record = json.loads((resumed[-1] / "environment.json").read_text())
    assert {*RUN, "ckpt=last"} <= set(record["command"])


def test_harmless_differences_are_logged(logs: Path) -> None:
    output = resume(
        logs,
        f"ckpt={first(logs)}",
        "trainer.val_check_interval=3",
        "callbacks.pictures.count=1",
        "~callbacks.best_figures",
    )
    assert "callbacks.best_figures._target_=src.training.callbacks.BestFigures (now null)" in output
    assert "callbacks.pictures.count=4 (now 1), trainer.val_check_interval=2 (now 3)" in output


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data.batch_size=2", "data.batch_size=4 (now 2)"),
        ("seed=1", "seed=0 (now 1)"),
        ("data.seed=1", "data.seed=0 (now 1)"),
        ("callbacks=ema", "callbacks.weight_averaging._target_=null (now lightning.pytorch.callbacks.WeightAveraging)"),
        ("augmentation.crop_size=33", " (now 33): its remaining steps would differ"),
        ("dataset.size=73", "dataset.size=65 (now 73)"),
        ("loss=ohem", "loss.criterion._target_=src.training.losses.CrossEntropy (now"),
        ("head.dropout=0.1", "head.dropout=0.5 (now 0.1)"),
        ("model.frozen_norm=true", "model.frozen_norm=False (now True)"),
        ("trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches=1 (now 2)"),
    ],
)
def test_differences_that_change_the_run_are_refused(logs: Path, override: str, line: str) -> None:
    output = resume(logs, f"ckpt={first(logs)}", override, status=2)
    assert line in output
    assert "init_from=" in output


def test_a_moved_checkpoint_resumes_with_the_given_overrides(logs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.ckpt"
    moved.write_bytes(first(logs).read_bytes())
    done = run_command("train", *RUN, f"ckpt={moved}", f"paths.log_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "overrides of the run" not in done.stdout + done.stderr


def test_a_run_with_hydra_job_chdir_is_resumed(tmp_path: Path) -> None:
    """Relative paths begin where the command was started, and ckpt=last finds the run."""
    run = (*RUN, "hydra.job.chdir=true", "trainer.max_steps=1", "paths.log_dir=logs")
    for overrides in ((), ("ckpt=last",)):
        done = run_command("train", *run, *overrides, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    assert len((tmp_path / "logs" / "runs.txt").read_text().splitlines()) == 2


def first(logs: Path) -> Path:
    return next(path for run in run_folders(logs) if (path := run / "checkpoints" / "last.ckpt").is_file())


def test_a_new_choice_discards_overrides_within_the_old_one() -> None:
    before = ["head=vanilla", "head.rate=4", "dataset.size=65", "trainer=cpu", "trainer.max_steps=3", "ckpt=last"]
    kept = {
        given: [o for o in before if not is_replaced(o, [given], before)] for given in ("head=largefov", "trainer=gpu")
    }
    assert kept["head=largefov"] == ["dataset.size=65", "trainer=cpu", "trainer.max_steps=3"]
    assert kept["trainer=gpu"] == ["head=vanilla", "head.rate=4", "dataset.size=65", "trainer.max_steps=3"]
    assert not is_replaced("head.rate=4", ["head=vanilla"], before)  # the same choice again


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], [EMA, "dataset.size=225", "trainer.max_steps=400"]),
        (["dataset.size=97"], [EMA, "trainer.max_steps=400"]),
        (["dataset=folder"], [EMA, "trainer.max_steps=400"]),
        (["trainer=cpu"], [EMA, "dataset.size=225", "trainer.max_steps=400"]),
        (["experiment=overfit"], []),
    ],
)
def test_a_run_keeps_the_defaults_that_it_began_with(given: list[str], kept: list[str]) -> None:
    now = OmegaConf.create(
        {
            "seed": 0,
            "dataset": {"_target_": "src.data.Shapes", "size": 193, "new": 1},
            "data": {"seed": "${seed}", "num_workers": 1},
            "augmentation": {"crop_size": "${dataset.size}"},
            "callbacks": {"weight_averaging": {"decay": 0.999}, "pictures": {"count": 4}},
            "trainer": {"max_steps": 300, "precision": "auto"},
        }
    )
    before = {
        "seed": 0,
        "dataset": {"_target_": "src.data.shapes.Shapes", "size": 225, "old": 2},
        "data": {"seed": 0, "num_workers": 1},
        "augmentation": {"crop_size": 225},
        "callbacks": {"weight_averaging": {"decay": 0.99}, "pictures": {"count": 8}},
        "trainer": {"max_steps": 400, "precision": "32-true"},
    }
    assert changed_defaults(now, before, given) == kept
