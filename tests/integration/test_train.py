"""The train command from end to end, on a few small images."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
import yaml

from src.training.segmenter import Segmenter
from tests.commands import run_command
from tests.faults.accidents import action_at_step
from tests.trainings import SMALL, losses, train


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("logs"), "scheduler=step")[0]  # a schedule without an end


def test_the_run_folder_holds_the_documented_files(run):
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert {
        "metrics.json", "config.yaml", "environment.json", "train.log", "csv/metrics.csv", "checkpoints/best.ckpt",
        "checkpoints/last.ckpt", "pictures/step_000002.png", "pictures/step_000004.png", "pictures/best.png",
    } <= files  # fmt: skip
    assert any(name.startswith("tensorboard/events") for name in files)
    assert "backbone.width-0.0625" in run.name


def test_table_and_metrics_json_hold_the_same_figures(run):
    metrics = json.loads((run / "metrics.json").read_text())
    ious = [metrics[f"val/iou/{name}"] for name in ("background", "disk", "box", "triangle", "star", "ring", "tree")]
    present = [iou for iou in ious if iou is not None]
    assert metrics["val/miou"] == pytest.approx(sum(present) / len(present), abs=1e-6)
    assert {"val/miou_crf", "val/pixel_accuracy_crf", "val/iou_crf/background"} <= set(metrics)
    table = (run.parents[3] / "stdout.txt").read_text()
    row = next(line for line in table.splitlines() if "mean IoU" in line)
    assert f"{100 * metrics['val/miou']:.1f}" in row
    assert f"{100 * metrics['val/miou_crf']:.1f}" in row


def test_the_record_reproduces_the_run(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["dataset"]["size"] == 65
    assert config["model"]["backbone"]["width"] == 0.0625  # references are resolved
    record = json.loads((run / "environment.json").read_text())
    assert "dataset.size=65" in record["command"]
    assert record["versions"]["torch"] == torch.__version__
    assert {"numpy", "opencv-python-headless", "pillow"} <= record["versions"].keys()
    assert len(record["git_commit"]) in (0, 40)


def test_checkpoint_rebuilds_the_network_with_weights_only(run):
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    segmenter = Segmenter(**content["hyper_parameters"])
    segmenter.load_state_dict(content["state_dict"])
    assert segmenter.classes[0] == "background"
    assert segmenter(torch.zeros(1, 3, 65, 65, dtype=torch.uint8)).shape == (1, 7, 9, 9)


def test_a_resumed_run_continues_after_the_checkpoint(run, tmp_path):
    resumed = train(tmp_path, f"ckpt={run / 'checkpoints' / 'last.ckpt'}", "trainer.max_steps=6", "scheduler=step")[0]
    assert len(losses(resumed)) == 2
    assert torch.load(resumed / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6


@pytest.mark.slow
def test_checkpoints_fit_with_and_without_compilation(run, tmp_path):
    """With real code generation; checkpoints are resumed and used as initial weights, in both directions."""
    (compiled,) = train(tmp_path / "compiled", "compile=true", "crf=none", "scheduler=step")
    plain, built = (torch.load(r / "checkpoints" / "last.ckpt", weights_only=True) for r in (run, compiled))
    assert list(built["state_dict"]) == list(plain["state_dict"])
    assert losses(compiled) == pytest.approx(losses(run), rel=0.1)  # dropout draws other numbers when compiled
    for number, (start, compile) in enumerate([(compiled, "false"), (run, "true")]):
        for key in ("ckpt", "init_from"):
            folder = tmp_path / f"{key}{number}"
            overrides = [
                "scheduler=step",
                f"{key}={start / 'checkpoints' / 'last.ckpt'}",
                f"compile={compile}",
                "crf=none",
            ]
            (after,) = train(folder, *overrides, "trainer.max_steps=6")
            assert len(losses(after)) == (2 if key == "ckpt" else 6)
            assert max(losses(after)) < losses(run)[0]  # the weights were loaded


# Without dropout, whose masks differ between processes, and with frozen BatchNorm.
SAME_ON_MORE_PROCESSES = ["head.dropout=0", "model.frozen_norm=true", "trainer.precision=32-true"]


def test_two_processes_stopped_and_resumed_train_as_one(tmp_path):
    """On the same global batches; SIGTERM to both leaves one checkpoint, from which both resume."""
    stop = ["trainer=ddp_cpu", action_at_step("terminate", 3), f"hydra.run.dir={tmp_path}/stopped"]
    done = run_command("train", *SMALL, *stop, *SAME_ON_MORE_PROCESSES)
    assert done.returncode == 143, done.stderr
    last = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    assert f"SIGTERM at step 3; resume with ckpt={last}" in done.stdout + done.stderr
    (after,) = train(tmp_path / "after", "trainer=ddp_cpu", f"ckpt={last}", *SAME_ON_MORE_PROCESSES)
    (one,) = train(tmp_path / "one", "trainer=cpu", *SAME_ON_MORE_PROCESSES)
    assert losses(tmp_path / "stopped") + losses(after) == pytest.approx(
        losses(one), rel=1e-5
    )  # up to the order of sums
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (after, one)]
    assert metrics[0].pop("val/loss") == pytest.approx(metrics[1].pop("val/loss"), rel=1e-5)
    assert metrics[0] == metrics[1]
    for pattern in ("checkpoints/*", "pictures/*", "csv/*", "*.json", "config.yaml"):
        two = {path.name for folder in (tmp_path / "stopped", after) for path in folder.glob(pattern)}
        assert two == {path.name for path in one.glob(pattern)}


@pytest.mark.slow  # tests/training/test_datamodule.py has the refusal itself
def test_an_indivisible_batch_ends_both_processes(tmp_path):
    done = run_command("train", *SMALL, "trainer=ddp_cpu", f"paths.log_dir={tmp_path}", "data.batch_size=3")
    assert done.returncode != 0
    assert "data.batch_size=3: cannot be divided among 2 devices" in done.stderr


def test_a_multirun_on_several_devices_is_refused(tmp_path):
    done = run_command("train", "-m", *SMALL, "trainer=ddp_cpu", f"paths.log_dir={tmp_path}", "seed=0,1")
    assert done.returncode != 0
    assert "-m cannot be combined with several devices" in done.stdout + done.stderr  # in the table of a multirun


def test_paths_can_be_pasted_into_overrides(run):
    assert not set("=,[]{}() ") & set(str(run.name))


def test_seed_zero_repeats_and_seed_one_differs(run, tmp_path):
    (again,) = train(tmp_path / "again", "scheduler=step", "seed=0", "crf=none", "logger=csv")
    (other,) = train(tmp_path / "other", "scheduler=step", "seed=1", "crf=none", "logger=csv")
    assert losses(again) == losses(run)
    assert losses(other) != losses(run)


def test_multirun_over_heads_with_all_loggers_and_no_crf(tmp_path):
    jobs = ["head=vanilla,largefov_r4", "crf=none", "logger=[csv,tensorboard,wandb]"]
    runs = train(tmp_path, *jobs, multirun=True)
    assert len(runs) == 2
    heads = [yaml.safe_load((run / "config.yaml").read_text())["head"] for run in runs]
    assert [(head["kernel"], head["rate"]) for head in heads] == [(4, 4), (3, 4)]
    for run in runs:
        assert "val/miou_crf" not in json.loads((run / "metrics.json").read_text())
        assert list((run / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.parametrize(("steps", "validated"), [(3, [2, 3]), (1, [1])])
def test_the_last_steps_are_validated_and_saved(tmp_path, steps, validated):
    """Also if the number of steps is no multiple of the validation interval."""
    (run,) = train(tmp_path, f"trainer.max_steps={steps}", "crf=none")
    rows = csv.DictReader((run / "csv" / "metrics.csv").open())
    steps_of = [int(row["step"]) + 1 for row in rows if row.get("val/miou")]
    assert steps_of == [*validated, steps + 1]  # the last row is the best checkpoint's, after training
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == steps
    assert (run / "checkpoints" / "best.ckpt").exists()


def test_diverging_training_is_reported(tmp_path):
    done = run_command("train", *SMALL, "optimizer.lr=1e30", f"paths.log_dir={tmp_path}")
    assert done.returncode == 2
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("error: the loss is nan at step ") or error.startswith("error: validation after ")
    assert "ower optimizer.lr" in error
    assert "Traceback" not in done.stderr


def test_without_loggers_and_pictures(tmp_path):
    (run,) = train(tmp_path, "logger=none", "~callbacks.pictures")
    assert not (run / "csv").exists()
    assert math.isfinite(json.loads((run / "metrics.json").read_text())["val/miou"])


def test_real_images_of_several_sizes(voc_mini, tmp_path):
    (run,) = train(
        tmp_path, "dataset=voc12", f"dataset.root={voc_mini}", "backbone.width=0.03125", "data.num_workers=0",
        "augmentation.crop_size=65", "crf.iterations=1",
        "trainer.max_steps=1", "trainer.val_check_interval=1", "trainer.accelerator=cpu",
        small=False,
    )  # fmt: skip
    assert "val/iou/aeroplane" in json.loads((run / "metrics.json").read_text())
