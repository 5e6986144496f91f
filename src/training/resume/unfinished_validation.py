"""Repeat a validation that was interrupted."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.training.lightning_state import is_validation_due, set_last_step, set_validation_interval


class UnfinishedValidation(Callback):
    """Runs a validation after a resume if the checkpoint was written just before it, so that no metrics are missing."""

    def __init__(self) -> None:
        self.due = False
        self.max_steps = -1
        self.interval: float | None = None

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.due = is_validation_due(checkpoint)
        self.max_steps = trainer.max_steps
        if self.due and trainer.max_steps == checkpoint["global_step"]:
            set_last_step(trainer, self.max_steps + 1)  # Lightning does not start a run that has no steps left

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.due:
            self.interval = set_validation_interval(trainer, 1)  # now, whatever the interval is

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.due and trainer.state.fn == "fit" and not trainer.sanity_checking:
            set_last_step(trainer, self.max_steps)
            set_validation_interval(trainer, self.interval)
            self.due = False
