"""What a run has of the one before it that it goes on from, and of those that it must leave alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from src.checkpoint_io import newest_intact, previous
from src.errors import UserError


def carry_best(checkpoint: Path, folder: Path) -> None:
    """Bring the best checkpoint of the run that is resumed into the folder of the run that goes on."""
    best = checkpoint.parent / "best.ckpt"
    if best.parent.resolve() != folder.resolve() and (best.is_file() or previous(best).is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(newest_intact(best), folder / best.name)


def refuse_to_overwrite(folder: Path, checkpoint: str | None) -> None:
    """A training's checkpoints are not another's to replace; clocks set back give folders the same name.

    Raises:
        UserError: if ``folder`` holds some, and ``checkpoint`` is not the one to go on from.
    """
    last = folder / "last.ckpt"
    here = checkpoint is not None and Path(checkpoint).parent.resolve() == folder.resolve()
    if not here and (last.is_file() or previous(last).is_file()):
        raise UserError(f"{folder.parent} holds a training already: go on with ckpt={last}, or choose another folder")


def keep_curve(curve: Path) -> None:
    """Put the curve of a run that goes on in its own folder aside; Lightning's logger begins a new file."""
    if curve.is_file():
        number = len(list(curve.parent.glob("metrics_before_*.csv"))) + 1
        curve.rename(curve.with_name(f"metrics_before_{number}.csv"))
