"""Validation of what training ends with."""

from typing import Any

from lightning import Callback, LightningModule, Trainer


class LastValidation(Callback):
    """Validates after the last iteration too, whatever ``val_check_interval`` is.

    Lightning validates every so many iterations and drops the rest: a run shorter than one interval would end
    without a checkpoint, a longer one would lose its last iterations.
    """

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        of_epochs = trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        if trainer.global_step == trainer.max_steps or of_epochs:
            trainer.should_stop = True  # asked to stop, Lightning validates first
