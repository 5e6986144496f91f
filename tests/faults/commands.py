"""A short training to interrupt, and the comparison of its runs with an uninterrupted one."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch

from tests.commands import Command

STEPS, SAVE_EVERY, VALIDATE_EVERY = 24, 2, 8  # steps; between checkpoints; between validations
SHAPES = ("dataset.size=65", "dataset.samples={train: 10, val: 3}")  # epochs of five steps
TRAINING = (
    "backbone.width=0.0625",
    "callbacks=ema",
    "data.batch_size=2",
    "data.num_workers=0",
    "logger=csv",
    "trainer=cpu",
    f"trainer.max_steps={STEPS}",
    f"trainer.val_check_interval={VALIDATE_EVERY}",
    "trainer.log_every_n_steps=1",
    f"callbacks.resume.every_n_steps={SAVE_EVERY}",
)


class LoggedCommand(Command):
    """A running ``python -m src.NAME OVERRIDES`` whose output goes to a file.

    Args:
        name: of the command.
        folder: paths.log_dir; the file is beside it.
        before: called in the process first.
    """

    def __init__(self, name: str, folder: Path, *overrides: str, before: Callable[[], None] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f"{folder.name}_output")
        beside.mkdir(exist_ok=True)
        output = beside / f"{len(list(beside.iterdir()))}.txt"
        super().__init__(name, *overrides, f"paths.log_dir={folder}", output=output, before=before)

    @property
    def text(self) -> str:
        """The output so far."""
        return self.output.read_text()

    def line(self, *parts: str) -> str:
        """Return the first line of the output that contains all parts; "" if there is none."""
        return next((line for line in self.text.splitlines() if all(part in line for part in parts)), "")


def start_training(
    folder: Path, *overrides: str, before: Callable[[], None] | None = None, data: Iterable[str] = SHAPES
) -> LoggedCommand:
    """Start the short training."""
    return LoggedCommand("train", folder, *TRAINING, *data, *overrides, before=before)


def run_folders(folder: Path) -> list[Path]:
    """Return the folders of all runs that began, oldest first."""
    return sorted((path.parent for path in folder.rglob("environment.json")), key=lambda path: path.stat().st_ctime_ns)


NOT_COMPARED = ("", "epoch", "train/images_per_second")  # speed differs between runs


def logged_values(folders: Iterable[Path]) -> set[tuple[str, str, str]]:
    """Return (step, metric, value) of everything that was logged."""
    files = [path for folder in folders for path in sorted((folder / "csv").glob("metrics*.csv"))]
    rows = [row for path in files for row in csv.DictReader(path.open())]
    return {
        (row["step"], name, value) for row in rows for name, value in row.items() if value and name not in NOT_COMPARED
    }


def read_checkpoint(checkpoint: Path) -> dict:
    return torch.load(checkpoint, weights_only=True, map_location="cpu")


def differences(reference: Path, folders: list[Path]) -> list[str]:
    """Return how a run in several folders, the last of which ends it, differs from the uninterrupted one."""
    found = []
    whole, own = logged_values([reference]), logged_values(folders)
    if whole != own:
        found.append(f"{len(whole - own)} figures lost, {len(own - whole)} others")
    for name in ("last.ckpt", "best.ckpt"):
        # A run that was killed after its last step writes no checkpoint when it is resumed.
        last = next(path for path in reversed(folders) if (path / "checkpoints" / name).is_file())
        one, other = (read_checkpoint(path / "checkpoints" / name) for path in (reference, last))
        for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "global_step"):
            if not is_equal(one[key], other[key]):
                found.append(f"{key} of {name}")
    if (reference / "metrics.json").read_text() != (folders[-1] / "metrics.json").read_text():
        found.append("metrics.json")
    return found


def is_equal(one: object, other: object) -> bool:
    """Tell whether two nested values are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(map(partial(is_equal_at, one, other), one))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return one == other


def is_equal_at(one: dict, other: dict, key: object) -> bool:
    return is_equal(one[key], other[key])
