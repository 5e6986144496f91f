"""Find the checkpoint that a training resumes from."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from omegaconf import DictConfig

from src.runs.checkpoint_files import newest_intact, previous_path, refuse_to_overwrite
from src.system.folder_lock import is_first_process

log = logging.getLogger(__name__)


def checkpoint_to_resume(config: DictConfig) -> str | None:
    """Return the checkpoint that a training resumes from, or None for a new run.

    Raises:
        UserError: if the checkpoint does not exist, or the folder contains another run.
    """
    folder = Path(config.paths.output_dir)
    checkpoint = requeued_checkpoint(folder / "checkpoints") or config.ckpt
    if checkpoint:
        checkpoint = str(newest_intact(checkpoint))
        if config.init_from:
            log.info("init_from=%s is not used: the checkpoint of ckpt= contains all weights", config.init_from)
    if is_first_process():
        refuse_to_overwrite(folder / "checkpoints", checkpoint)
    return checkpoint


def requeued_checkpoint(folder: Path) -> str | None:
    """Return the checkpoint that this SLURM job wrote into ``folder`` before it was requeued; otherwise None."""
    last = folder / "last.ckpt"
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0" or not (last.is_file() or previous_path(last).is_file()):
        return None
    log.info("SLURM requeued this job: it resumes with ckpt=%s", last)
    return str(last)


def copy_best_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy the best checkpoint of the resumed run into the folder of the new run."""
    best = checkpoint.parent / "best.ckpt"
    if best.parent.resolve() != folder.resolve() and (best.is_file() or previous_path(best).is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(newest_intact(best), folder / best.name)
