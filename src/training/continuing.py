"""What a run has of the one before it that it goes on from, and of those that it must leave alone."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from src.errors import UserError
from src.models.weights.pretrained import read_state
from src.runs.checkpoint_files import newest_intact, previous
from src.runs.moved_names import with_new_names
from src.system.nested import flattened
from src.training.segmenter import Segmenter

log = logging.getLogger(__name__)

RESTORED = ("classes", "optimizer", "scheduler")  # what a run goes on with, whatever the config says


def carry_best(checkpoint: Path, folder: Path) -> None:
    """Bring the best checkpoint of the run that is resumed into the folder of the run that goes on."""
    best = checkpoint.parent / "best.ckpt"
    if best.parent.resolve() != folder.resolve() and (best.is_file() or previous(best).is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(newest_intact(best), folder / best.name)


def of_requeued_job(folder: Path) -> str | None:
    """The checkpoint that this job of SLURM wrote into ``folder`` before SLURM queued it again; None in other cases."""
    last = folder / "last.ckpt"
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0" or not (last.is_file() or previous(last).is_file()):
        return None
    log.info("SLURM queued this job again: it goes on with ckpt=%s", last)
    return str(last)


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


def refuse_another(checkpoint: str, segmenter: Segmenter) -> None:
    """A run goes on with the network, the classes, the optimiser and the schedule that it began with.

    Raises:
        UserError: naming the settings, the checkpoint's and the run's.
    """

    content = read_state(Path(checkpoint))
    if not all(isinstance(content.get(key), dict) for key in ("hyper_parameters", "state_dict")):
        raise UserError(f"ckpt={checkpoint}: holds no training to go on with; init_from= takes weights alone")
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
            f"ckpt={checkpoint} is of a run with {', '.join(changed) or 'a network of other code'}: go on with "
            "its own overrides, or leave ckpt out (init_from= begins with the weights, where the network is the same)"
        )
