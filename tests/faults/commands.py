"""A short training that accidents happen to, and what it must have in common with one that was never disturbed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch

from tests.commands import Command

STEPS, EVERY, VALIDATION = 24, 2, 8  # iterations; between checkpoints; between validations
SHAPES = ("dataset.size=65", "dataset.samples={train: 10, val: 3}")  # epochs of five iterations
TRAINING = (
    "backbone.width=0.0625",
    "callbacks=ema",
    "data.batch_size=2",
    "data.num_workers=0",
    "logger=csv",
    "trainer=cpu",
    f"trainer.max_steps={STEPS}",
    f"trainer.val_check_interval={VALIDATION}",
    "trainer.log_every_n_steps=1",
    f"callbacks.resume.every_n_steps={EVERY}",
)


class Logged(Command):
    """``python -m src.NAME OVERRIDES``, running.

    Args:
        name: of the command.
        folder: paths.log_dir; what the command prints goes to a file beside it.
        before: called in its process first.
    """

    def __init__(self, name: str, folder: Path, *overrides: str, before: Callable[[], None] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f"{folder.name}_output")
        beside.mkdir(exist_ok=True)
        output = beside / f"{len(list(beside.iterdir()))}.txt"
        super().__init__(name, *overrides, f"paths.log_dir={folder}", output=output, before=before)

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.output.read_text()

    def line(self, *parts: str) -> str:
        """Return the first line of its output that holds all parts; empty if there is none."""
        return next((line for line in self.text.splitlines() if all(part in line for part in parts)), "")


def trained(
    folder: Path, *overrides: str, before: Callable[[], None] | None = None, data: Iterable[str] = SHAPES
) -> Logged:
    """Start the short training."""
    return Logged("train", folder, *TRAINING, *data, *overrides, before=before)


def runs(folder: Path) -> list[Path]:
    """Folders of the runs that began, oldest first."""
    return sorted((path.parent for path in folder.rglob("environment.json")), key=lambda path: path.stat().st_ctime_ns)


NOT_FIGURES = ("", "epoch", "train/images_per_second")  # the last is the machine's


def curve(folders: Iterable[Path]) -> set[tuple[str, str, str]]:
    """Step, figure and value of whatever was logged."""
    files = [path for folder in folders for path in sorted((folder / "csv").glob("metrics*.csv"))]
    rows = [row for path in files for row in csv.DictReader(path.open())]
    return {
        (row["step"], name, value) for row in rows for name, value in row.items() if value and name not in NOT_FIGURES
    }


def content(checkpoint: Path) -> dict:
    return torch.load(checkpoint, weights_only=True)


def differences(reference: Path, folders: list[Path]) -> list[str]:
    """In what the run that ends in the last of the folders differs from the uninterrupted one; nothing may."""
    found = []
    whole, own = curve([reference]), curve(folders)
    if whole != own:
        found.append(f"{len(whole - own)} figures lost, {len(own - whole)} others")
    for name in ("last.ckpt", "best.ckpt"):
        # A run that was killed when all iterations were done has no more to write when it goes on.
        last = next(path for path in reversed(folders) if (path / "checkpoints" / name).is_file())
        one, other = (content(path / "checkpoints" / name) for path in (reference, last))
        for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "global_step"):
            if not same(one[key], other[key]):
                found.append(f"{key} of {name}")
    if (reference / "metrics.json").read_text() != (folders[-1] / "metrics.json").read_text():
        found.append("metrics.json")
    return found


def same(one: object, other: object) -> bool:
    """Equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(map(partial(same_at, one, other), one))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def same_at(one: dict, other: dict, key: object) -> bool:
    return same(one[key], other[key])
