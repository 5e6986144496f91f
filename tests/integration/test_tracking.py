"""Loggers: all of them get the same metrics under the same names, and nothing about the user's machine."""

import csv
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.ndimage import maximum_filter

from src.cli.resolvers import slug
from src.runs import loggers
from src.runs.loggers import build_loggers, closed_wandb
from src.runs.provenance import shareable_config
from src.system.errors import UserError
from src.training.callbacks import Rates, rates
from tests.cli.test_conf import compose
from tests.commands import run_command
from tests.conftest import REPO
from tests.integration.wandb_file import OfflineRun
from tests.models.networks import composed
from tests.trainings import SMALL

CLASSES = ["background", "disk", "box", "triangle", "star", "ring", "tree"]
SECRET, DATA_FOLDER = "s3cr3t-0123456789", "/mnt/h1dden"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a multirun of two jobs with all loggers, the second of which diverges."""
    folder = tmp_path_factory.mktemp("tracking")
    home = folder / "home" / "alice"
    home.mkdir(parents=True)
    own = {"HOME": str(home), "USER": "alice", "LOGNAME": "alice", "MY_SECRET": SECRET, "DEEPLAB_DATA": DATA_FOLDER}
    command = [
        *("train", "-m", *SMALL, "logger=[csv,tensorboard,wandb,mlflow]"),
        *("logger.wandb.offline=true", "logger.wandb.tags=[mine]", "optimizer.lr=0.05,1e30", f"+note={home}/notes"),
        *("+told=${oc.env:MY_SECRET}", f"paths.log_dir={folder / 'logs'}", f"hydra.sweep.dir={folder / 'sweep'}"),
    ]
    done = run_command(*command, environment=own)
    assert done.returncode == 1, done.stderr  # one of them fails
    assert "1 of 2 jobs done" in done.stdout, done.stdout + done.stderr
    return folder / "sweep"


@pytest.fixture(scope="module")
def jobs(sweep: Path) -> list[Path]:
    return sorted(path.parent for path in sweep.glob("*/status.json"))


@pytest.fixture(scope="module")
def offline(jobs: list[Path]) -> list[OfflineRun]:
    return [OfflineRun(next((job / "wandb").glob("offline-run-*"))) for job in jobs]


def scalars(run: OfflineRun) -> set[str]:
    """Return the scalars of a run, without W&B's own."""
    names = {name for row in run.history for name, value in row.items() if not isinstance(value, (dict, list, str))}
    return {name for name in names if not name.startswith("_")} - {"trainer/global_step"}


def test_runs_have_group_tags_and_exit_code(jobs: list[Path], offline: list[OfflineRun]) -> None:
    for job, run in zip(jobs, offline, strict=True):
        assert (run.run.project, run.run.run_group, run.run.job_type) == ("deeplab-v1", "sweep", "train")
        assert run.run.display_name == job.name
        assert set(run.run.tags) == {"mine", "slim", "largefov", "shapes"}
    assert [run.exit_code for run in offline] == [0, 1]
    assert offline[0].run.run_id != offline[1].run.run_id
    with sqlite3.connect(jobs[0].parents[1] / "logs" / "mlflow.db") as store:
        statuses = dict(store.execute("select name, status from runs").fetchall())
    assert statuses == {jobs[0].name: "FINISHED", jobs[1].name: "FAILED"}


def test_config_is_resolved_nested_and_names_the_commit(offline: list[OfflineRun]) -> None:
    config = offline[0].config
    assert config["model"]["head"]["kernel"] == 3
    assert config["optimizer"]["lr"] == 0.05
    assert config["callbacks"]["crf"]["crf"]["sxy"] == 50
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True).stdout.strip()
    assert config["provenance"]["git_commit"] == commit
    versions = config["provenance"]["versions"]
    assert versions["torch"] == torch.__version__
    assert "pytest" not in versions  # nor others that decide no result, which may be private
    assert "optimizer.lr=0.05" in config["provenance"]["command"]


def test_nothing_identifies_the_users_machine(offline: list[OfflineRun]) -> None:
    """Neither in what is uploaded nor beside it; logs/ is W&B's own log, which stays on the machine."""
    config = offline[0].config
    assert config["note"] == "~/notes"
    assert config["paths"]["data_dir"] == "$DEEPLAB_DATA"
    assert config["told"] == "$MY_SECRET"
    for run in offline:
        assert run.run.host == "-"
        assert not run.kinds & {"environment", "output", "output_raw"}
        found = [path for path in run.folder.parent.rglob("*") if path.is_file() and not path.is_symlink()]
        files = [path for path in found if path.parent.name != "logs"]
        assert len(files) >= 2  # the diverged run has its own file and the requirements
        for path in files:
            for hidden in (SECRET, DATA_FOLDER, "alice"):
                assert hidden.encode() not in path.read_bytes(), path
                assert hidden not in str(path.relative_to(run.folder.parent))


def test_scalars_have_the_same_names_everywhere(jobs: list[Path], offline: list[OfflineRun]) -> None:
    names = scalars(offline[0])
    groups = ("weight", "norm", "bias", "classifier_weight", "classifier_bias")
    assert names == {
        "epoch", "train/loss", "val/loss", "train/images_per_second", "best/miou", "best/miou_crf", "best/step",
        *(f"lr/{group}" for group in groups),
        *(f"val/{n}{s}" for n in ("miou", "pixel_accuracy", "mean_accuracy", "mean_boundary_f") for s in ("", "_crf")),
        *(f"val/iou{s}/{name}" for name in CLASSES for s in ("", "_crf")),
    }  # fmt: skip
    with (jobs[0] / "csv" / "metrics.csv").open() as file:
        assert set(next(csv.reader(file))) - {"step"} == names
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(jobs[0] / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) - {"hp_metric"} == names
    with sqlite3.connect(jobs[0].parents[1] / "logs" / "mlflow.db") as store:
        keys = "select distinct key from metrics join runs using (run_uuid) where status = 'FINISHED'"
        assert {key for (key,) in store.execute(keys)} == names


def test_summary_has_the_best_figures(jobs: list[Path], offline: list[OfflineRun]) -> None:
    summary, figures = offline[0].summary, json.loads((jobs[0] / "metrics.json").read_text())
    assert summary["val/miou"] == pytest.approx(figures["val/miou"])
    assert summary["val/iou/background"] == pytest.approx(figures["val/iou/background"])
    with (jobs[0] / "csv" / "metrics.csv").open() as file:
        *during, after = [float(row["val/miou"]) for row in csv.DictReader(file) if row["val/miou"]]
    assert summary["best/miou"] == pytest.approx(max(during)) == pytest.approx(after)
    assert summary["best/step"] == 2 * (1 + int(np.argmax(during)))


def test_pictures_have_label_maps_as_masks(offline: list[OfflineRun]) -> None:
    logged = [row["val/pictures"] for row in offline[0].history if "val/pictures" in row]
    assert len(logged) == 3  # two validations, and the best checkpoint's
    for pictures in logged:
        assert len(pictures["filenames"]) == len(pictures["all_masks"]) == len(pictures["captions"]) == 3
        for name, masks in zip(pictures["filenames"], pictures["all_masks"], strict=True):
            assert set(masks) == {"truth", "prediction", "crf"}
            size = Image.open(offline[0].folder / "files" / name).size
            for kind, mask in masks.items():
                labels = Image.open(offline[0].folder / "files" / mask["path"])
                assert labels.size == size == (65, 65)
                found = set(np.unique(np.asarray(labels)).tolist())
                assert found <= set(range(7)) | ({255} if kind == "truth" else set())
    labels_of = offline[0].config["_wandb"]["mask/class_labels"]["val/pictures_wandb_delimeter_crf"]["value"]
    assert labels_of == {str(number): name for number, name in enumerate(CLASSES)}  # void has no name


def test_tables_and_charts_of_the_best_checkpoint(jobs: list[Path], offline: list[OfflineRun]) -> None:
    run, figures = offline[0], json.loads((jobs[0] / "metrics.json").read_text())
    rows = run.table("val/classes")
    assert [row["class"] for row in rows] == CLASSES
    assert sum(row["% of pixels"] for row in rows) == pytest.approx(100, abs=0.1)
    for suffix, method in (("", "network"), ("_crf", "network + CRF")):
        for row in rows:
            iou = figures[f"val/iou{suffix}/{row['class']}"]
            assert row[f"IoU %, {method}"] == (None if iou is None else pytest.approx(100 * iou, abs=0.01))
        sums: dict[str, float] = {}
        for cell in run.table(f"val/confusion{suffix}_table"):
            sums[cell["Actual"]] = sums.get(cell["Actual"], 0) + cell["nPredictions"]
        present = [row["class"] for row in rows if row["% of pixels"]]
        assert sums == pytest.approx(dict.fromkeys(present, 100), abs=0.1)
    shown = run.config["_wandb"]["visualize"]
    assert set(shown) == {"val/confusion", "val/confusion_crf", "val/trimap_miou", "val/trimap_pixel_accuracy"}


def test_trimap_curves_are_those_of_the_pictures(offline: list[OfflineRun]) -> None:
    """All validation images are among the pictures; a band is void dilated by a square (scipy)."""
    run = offline[0]
    masks = [row for row in run.history if "val/pictures" in row][-1]["val/pictures"]["all_masks"]
    files = run.folder / "files"
    read = [{kind: np.asarray(Image.open(files / mask["path"])) for kind, mask in each.items()} for each in masks]
    curves = {(row["step"], row["lineKey"]): row["lineVal"] for row in run.table("val/trimap_pixel_accuracy_table")}
    assert set(curves) == {(width, method) for width in range(1, 41) for method in ("network", "network + CRF")}
    for width in (1, 7, 40):
        bands = [maximum_filter(each["truth"] == 255, 2 * width + 1) & (each["truth"] != 255) for each in read]
        for kind, method in (("prediction", "network"), ("crf", "network + CRF")):
            right = sum(int((each["truth"] == each[kind])[band].sum()) for each, band in zip(read, bands, strict=True))
            share = right / sum(int(band.sum()) for band in bands)
            assert curves[width, method] == pytest.approx(100 * share, abs=1e-3)
    assert len(run.table("val/trimap_miou_table")) == 80


def test_all_files_to_upload_lie_in_the_runs_folder(jobs: list[Path], offline: list[OfflineRun]) -> None:
    for job, run in zip(jobs, offline, strict=True):
        for path in run.artifacts:
            assert path.is_file()
            assert path.is_relative_to(job)
    assert len(offline[0].artifacts) == 5


def test_a_resumed_run_keeps_its_wandb_id(
    jobs: list[Path], offline: list[OfflineRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = jobs[0] / "checkpoints" / "last.ckpt"
    config = compose("logger=wandb", "logger.wandb.offline=true", f"paths.output_dir={tmp_path}")
    del config.hydra
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("lightning.pytorch.loggers.WandbLogger.log_hyperparams", lambda self, x: told.append(x))
    (logger,) = build_loggers(config, torch.load(last, weights_only=True)["wandb_id"])
    assert logger.version == offline[0].run.run_id
    assert told[0]["optimizer"]["lr"] == 0.1
    assert torch.load(last, weights_only=True)["callbacks"]["BestFigures"]["best/miou"] > 0


def test_a_run_stopped_by_sigterm_is_preempted(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Mock()
    monkeypatch.setattr("wandb.run", run)

    def stopped() -> None:
        with closed_wandb():
            sys.exit(143)

    with pytest.raises(SystemExit):
        stopped()
    run.mark_preempting.assert_called_once_with()
    run.finish.assert_called_once_with(exit_code=143)


def test_home_and_environment_do_not_reach_the_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    home = str(Path.home())
    monkeypatch.setenv("DEEPLAB_DATA", "/mnt/data")
    paths = f"+a=[{home}/x,x{home},{home}x,{home}]"
    read = ["+b='see file://${oc.env:PATH}'", "+c.unset='${oc.env:NO_SUCH_VARIABLE,7}'"]
    config = compose("dataset=camvid", "trainer=slurm", paths, *read)
    del config.hydra
    told = shareable_config(config)
    assert told["a"] == ["~/x", f"x{home}", f"{home}x", "~"]
    assert told["b"] == "see file://$PATH"
    assert told["c"] == {"unset": "7"}  # as OmegaConf has it
    assert told["trainer"]["num_nodes"] == 1  # of no SLURM job
    assert told["dataset"]["root"].startswith("$DEEPLAB_DATA/")
    assert config.dataset.root.startswith("/mnt/data/")  # as usual


def test_folders_are_not_named_after_the_home_folder() -> None:
    assert slug(f"dataset.root={Path.home()}/data/camvid") == "dataset.root-data-camvid"


def test_throughput_counts_waiting_but_not_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 2 s after 1 s of waiting, 4 images on each of two devices; a validation of 100 s after step 2."""
    now = 0.0
    monkeypatch.setattr(rates, "perf_counter", lambda: now)
    logged: dict[str, list[float]] = {}
    module: Any = SimpleNamespace(log=lambda name, value, **_: logged.setdefault(name, []).append(value))
    group = {"name": "weight", "lr": 0.1}
    trainer: Any = SimpleNamespace(
        global_step=0,
        world_size=2,
        log_every_n_steps=2,
        loggers=[1],
        optimizers=[SimpleNamespace(param_groups=[group])],
    )
    batch: Any = {"id": list("abcd")}
    callback = Rates()
    callback.on_train_start(trainer, module)
    for step in range(1, 5):
        callback.on_train_batch_start(trainer, module, batch, 0)
        now += 2
        trainer.global_step = step
        callback.on_train_batch_end(trainer, module, None, batch, 0)
        now += 1
        if step == 2:
            callback.on_validation_start(trainer, module)
            now += 100
        group["lr"] /= 10
    assert logged["train/images_per_second"] == pytest.approx([16 / 5, 16 / 5])  # 2 + 1 + 2 seconds
    assert logged["lr/weight"] == pytest.approx([1e-1, 1e-2, 1e-3, 1e-4])


def test_the_wandb_sweep_overrides_existing_keys() -> None:
    search = yaml.safe_load((REPO / "docs" / "wandb_sweep.yaml").read_text())
    assert (REPO / search["program"]).is_file()
    fixed = [part for part in search["command"] if "=" in part]
    assert search["command"] == ["${env}", "${interpreter}", "-m", "src.train", *fixed, "${args_no_hyphens}"]
    for name, parameter in search["parameters"].items():
        values = parameter.get("values") or [parameter.get("value", parameter.get("min")), parameter.get("max")]
        for value in values:
            if value is not None:
                composed(*fixed, f"{name}={value}")
    assert search["metric"] == {"name": "val/miou_crf", "goal": "maximize"}
    with pytest.raises(Exception, match="nothing"):
        composed("optimizer.nothing=1")


def test_a_missing_mlflow_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(**_: Any) -> None:
        raise ModuleNotFoundError("mlflow")

    monkeypatch.setattr(loggers, "MLFlowLogger", absent)
    with pytest.raises(UserError, match=r'pip install "deeplab-v1\[mlflow\]"'):
        loggers.mlflow_logger(str(tmp_path), f"sqlite:///{tmp_path}/a/b.db")
