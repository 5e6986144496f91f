"""Validate at the end of training."""

from typing import Any

from lightning import Callback, LightningModule, Trainer


class LastValidation(Callback):
    """Validates after the last step, even if ``max_steps`` is not a multiple of ``val_check_interval``.

    Lightning validates at a fixed interval only: a run shorter than one interval would end without a checkpoint, and a
    longer run would lose its last steps.
    """

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        ends_by_epochs = trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        if trainer.global_step == trainer.max_steps or ends_by_epochs:
            trainer.should_stop = True  # Lightning validates before it stops
