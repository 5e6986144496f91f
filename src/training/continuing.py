"""Checks and files of a run that is resumed, and protection of other runs' files."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from src.errors import UserError
from src.models.weights.pretrained import read_state
from src.runs.checkpoint_files import newest_intact, previous_path
from src.runs.moved_names import with_new_names
from src.system.nested import flattened
from src.training.segmenter import Segmenter

log = logging.getLogger(__name__)

RESTORED = ("classes", "optimizer", "scheduler")  # settings that a checkpoint restores, whatever the config says


def copy_best_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy the best checkpoint of the resumed run into the folder of the new run."""
    best = checkpoint.parent / "best.ckpt"
    if best.parent.resolve() != folder.resolve() and (best.is_file() or previous_path(best).is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(newest_intact(best), folder / best.name)


def requeued_checkpoint(folder: Path) -> str | None:
    """Return the checkpoint that this SLURM job wrote into ``folder`` before it was requeued; None in other cases."""
    last = folder / "last.ckpt"
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0" or not (last.is_file() or previous_path(last).is_file()):
        return None
    log.info("SLURM requeued this job: it resumes with ckpt=%s", last)
    return str(last)


def refuse_to_overwrite(folder: Path, checkpoint: str | None) -> None:
    """Check that a run does not replace the checkpoints of another run.

    Two runs get folders of the same name if the clock is set back.

    Args:
        folder: checkpoints of the run that begins.
        checkpoint: the checkpoint to resume from.

    Raises:
        UserError: if ``folder`` holds checkpoints, and ``checkpoint`` is not one of them.
    """
    last = folder / "last.ckpt"
    resumes_here = checkpoint is not None and Path(checkpoint).parent.resolve() == folder.resolve()
    if not resumes_here and (last.is_file() or previous_path(last).is_file()):
        raise UserError(
            f"{folder.parent} already holds a training run: resume it with ckpt={last}, or choose another folder"
        )


def set_curve_aside(curve: Path) -> None:
    """Rename the curve of a run that is resumed in its own folder, because Lightning's logger begins a new file."""
    if curve.is_file():
        number = len(list(curve.parent.glob("metrics_before_*.csv"))) + 1
        curve.rename(curve.with_name(f"metrics_before_{number}.csv"))


def check_same_run(checkpoint: str, segmenter: Segmenter) -> None:
    """Check that a resumed run keeps its network, classes, optimiser and schedule.

    Raises:
        UserError: if a setting differs; it names the checkpoint's and the run's value.
    """

    content = read_state(Path(checkpoint))
    if not all(isinstance(content.get(key), dict) for key in ("hyper_parameters", "state_dict")):
        raise UserError(
            f"ckpt={checkpoint}: not a checkpoint that can be resumed; to load weights only, use init_from="
        )
    states = [
        {name: getattr(value, "shape", None) for name, value in state.items()}
        for state in (content["state_dict"], segmenter.state_dict())
    ]
    unlike = {name.partition(".")[0] for name, _ in states[0].items() ^ states[1].items()}  # model, loss
    before, now = (
        dict(flattened(settings)) for settings in (with_new_names(content["hyper_parameters"]), segmenter.hparams)
    )
    changed = [
        f"{key.removeprefix('model.')}={before.get(key)} (now {now.get(key)})"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key) and key.partition(".")[0] in (*RESTORED, *unlike)
    ]
    if changed or unlike:
        raise UserError(
            f"ckpt={checkpoint} belongs to a run with {', '.join(changed) or 'a network of other code'}: resume it "
            "with the same overrides, or leave ckpt out (init_from= loads the weights only, if the network is the same)"
        )
