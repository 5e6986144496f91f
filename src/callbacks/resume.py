"""What makes a resumed run the same run."""

from __future__ import annotations

import logging
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger(__name__)


class ExactResume(Callback):
    """Randomness by the step, a checkpoint before each validation and on SIGTERM, the W&B run's id.

    Dropout and the like are drawn from seed, step and process, so that a checkpoint needs no generators' states. The
    order of samples and their augmentation come from ``ResumableSampler`` alike.

    Args:
        path: of the checkpoint.
        seed: of the run.
    """

    def __init__(self, path: str, seed: int) -> None:
        self.path = Path(path)
        self.seed = seed
        self.before_validation = False

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        key = (self.seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)
        state = int(np.random.SeedSequence(key).generate_state(1)[0])
        torch.manual_seed(state)
        np.random.seed(state)
        random.seed(state)

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        # A validation that is cut short leaves no state to go on from; CRF and large sets make it long.
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.before_validation = True
            trainer.save_checkpoint(self.path)
            self.before_validation = False

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, SIGTERMException):
            if not trainer.validating:
                trainer.save_checkpoint(self.path)
            if trainer.is_global_zero:
                log.warning("SIGTERM at step %d; go on with ckpt=%s", trainer.global_step, self.path)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        ids = [str(logger.version) for logger in trainer.loggers if isinstance(logger, WandbLogger) and logger.version]
        if ids:
            checkpoint["wandb_id"] = ids[0]
        if trainer.state.fn == "fit" and self.before_validation:
            # As if within its first image: Lightning would leave the validation out, where here it has yet to run.
            total = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
            total["ready"] += 1
            total["started"] += 1


class RunCheckpoint(ModelCheckpoint):
    """Lightning's, which would forget the best score where a run goes on in another folder."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self.dirpath is not None
        # No path of the file's own is taken over: Lightning deletes what these name once there is a better one.
        here: dict[str, Any] = dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), "")
        here |= {"dirpath": self.dirpath, "best_k_models": {}}
        if self.monitor is not None and state_dict["best_model_path"]:
            best = str(Path(self.dirpath, Path(state_dict["best_model_path"]).name))
            here |= {"best_model_path": best, "kth_best_model_path": best}
            here["best_k_models"] = {best: state_dict["best_model_score"]}
        super().load_state_dict({**state_dict, **here})


def carry_best(checkpoint: Path, folder: Path) -> None:
    """Bring the best checkpoint of the run that is resumed into the folder of the run that goes on."""
    best = checkpoint.parent / "best.ckpt"
    if best.is_file() and best.parent.resolve() != folder.resolve():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(best, folder)
