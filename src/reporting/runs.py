"""Read run folders; a damaged folder is reported, and neither fails the report nor disappears from it."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob
from math import nan
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src.runs.moved_names import with_new_names
from src.system.counted import counted
from src.system.dotted_keys import flattened
from src.system.files import expand_path

Curve = list[tuple[float, float]]  # (step, value)

SIGNS = (
    "config.yaml",
    "environment.json",
    "metrics.json",
    "train.log",
    "evaluate.log",
    "status.json",
)  # files that mark a run folder
# Keys that decide a run's figures, with all keys below them. Other callbacks, loggers, paths and workers do not.
DECISIVE = (
    *("command", "init_from", "ckpt", "split"),
    *("backbone", "head", "model", "dataset", "augmentation", "data"),
    *("loss", "optimizer", "scheduler", "crf", "inference"),
    *("trainer.max_steps", "trainer.max_epochs", "trainer.max_time", "trainer.precision", "trainer.sync_batchnorm"),
    *("trainer.accumulate_grad_batches", "trainer.gradient_clip_val", "trainer.gradient_clip_algorithm"),
    *("trainer.limit_train_batches", "trainer.limit_val_batches", "trainer.overfit_batches"),
    *("trainer.val_check_interval", "callbacks.best.monitor", "callbacks.best.mode"),  # which checkpoint is the best
    *("callbacks.weight_averaging", "callbacks.crf.first_n"),
)
# Keys below those that decide nothing, or repeat another group.
NOT_DECISIVE = (
    *("data.dataset", "data.augmentation", "data.seed", "model.backbone", "model.head"),
    *("data.num_workers", "dataset.cache", "crf.engine"),
)


@dataclass(frozen=True)
class Run:
    """A training, or an evaluation of a checkpoint.

    Attributes:
        metrics: content of metrics.json in 0..1, NaN for null; empty if the run has none.
        record: content of environment.json: command, commit, versions.
        curves: content of csv/metrics.csv, by the names that training logs.
        trimap: columns of trimap.csv in 0..1, for an evaluation.
        fault: why there are no metrics; empty for a finished run.
        notes: what else is missing.
    """

    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    trimap: Mapping[str, Curve] = field(default_factory=dict)
    fault: str = ""
    notes: tuple[str, ...] = ()

    def part(self, group: str) -> Mapping[str, Any]:
        """Return a group of the config; an empty mapping if the config is incomplete."""
        return found if isinstance(found := self.config.get(group), dict) else {}

    @property
    def settings(self) -> dict[str, Any]:
        """All values that determine the results, except the seed, by dotted key."""
        resumed = ("ckpt",) if self.config.get("command") == "train" else ()  # resuming does not change results
        return {
            key: value
            for key, value in flattened(self.config)
            if is_below(key, DECISIVE) and not is_below(key, (*NOT_DECISIVE, *resumed))
        }


def is_below(key: str, others: Sequence[str]) -> bool:
    """Tell whether a dotted key is one of the others or lies below one."""
    return any(f"{key}.".startswith(f"{other}.") for other in others)


def find_folders(patterns: Sequence[str]) -> list[Path]:
    """Return the folders of runs that match a pattern or are below a match; a match without runs is returned itself."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        for match in sorted(filter(os.path.isdir, glob(str(expand_path(pattern)), recursive=True))):
            beneath = list(runs_beneath(Path(match)))
            found |= dict.fromkeys(beneath or [Path(match)])
    return [folder for folder in found if not any(other in folder.parents for other in found)]


def runs_beneath(top: Path) -> Iterator[Path]:
    """Yield the folders of runs below a folder."""
    for folder, inner, files in os.walk(top):
        inner.sort()
        if ".hydra" in inner or any(sign in files for sign in SIGNS):
            inner.clear()  # W&B keeps a config.yaml of its own in there
            yield Path(folder)


def read_run(folder: Path) -> Run:
    """Read whatever can be read of a run."""
    config, fault = read_file(folder / "config.yaml")
    config = with_new_names(config)
    record, record_fault = read_file(folder / "environment.json")
    curves, curves_fault = read_columns(folder / "csv" / "metrics.csv", "step")
    trimap, trimap_fault = read_columns(folder / "trimap.csv", "width")
    evaluation = config.get("command") == "evaluate"
    metrics: dict[str, float] = {}
    if not fault:
        numbers, fault = read_file(folder / "metrics.json")
        if fault.endswith("is missing"):
            fault = f"no metrics: {fault}{describe_progress(config, curves)}"
        elif not fault and f"{config.get('split', 'val')}/miou" not in numbers:
            fault = "metrics.json holds no mean IoU"
        elif not fault and not all(value is None or isinstance(value, (int, float)) for value in numbers.values()):
            fault = "metrics.json holds a value that is not a number"
        elif not fault:
            metrics = {key: nan if value is None else float(value) for key, value in numbers.items()}
    state, _ = read_file(folder / "status.json")  # of a sweep's job
    if state.get("status") == "failed":
        fault = f"failed: {state.get('error') or 'status.json does not say why'}"
    faults = (record_fault, trimap_fault if evaluation and "missing" not in trimap_fault else "")
    notes = tuple(filter(None, (*faults, "" if evaluation else curves_fault)))
    return Run(folder, config, metrics, record, curves, trimap, fault, notes)


def describe_progress(config: Mapping[str, Any], curves: Mapping[str, Curve]) -> str:
    """Return the end of a message that tells how far a run came; empty if it has logged nothing."""
    steps = [step for curve in curves.values() for step, _ in curve]
    total = trainer.get("max_steps", "?") if isinstance(trainer := config.get("trainer"), dict) else "?"
    return f"; the last step logged is {max(steps) + 1:.0f} of {total}" if steps else ""


def read_file(path: Path) -> tuple[dict[str, Any], str]:
    """Return a mapping read from YAML or JSON, and what is wrong with the file; empty if nothing is."""
    if not path.is_file():
        return {}, f"{path.name} is missing"
    try:
        if path.suffix == ".json":
            content = json.loads(path.read_text())
        else:
            content = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException):
        return {}, f"{path.name} cannot be read; it may be damaged"
    return (content, "") if isinstance(content, dict) else ({}, f"{path.name} holds no mapping")


def read_columns(path: Path, index: str) -> tuple[dict[str, Curve], str]:
    """Return the columns of a CSV over its index column, without empty cells, and what is wrong with the file."""
    columns: dict[str, Curve] = {}
    name, broken = f"{path.parent.name}/{path.name}" if path.parent.name == "csv" else path.name, 0
    if not path.is_file():
        return {}, f"{name} is missing"
    with path.open(newline="", errors="replace") as file:
        for row in csv.DictReader(line.replace("\0", "") for line in file):
            try:
                cells = {k: float(v) for k, v in row.items() if k and v not in ("", None)}
                position = cells.pop(index)
            except (KeyError, ValueError, TypeError):
                broken += 1
                continue
            for key, value in cells.items():
                columns.setdefault(key, []).append((position, value))
    return columns, f"{name}: {counted(broken, 'line')} cannot be read" if broken else ""
