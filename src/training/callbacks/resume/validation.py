"""A validation that the run was stopped in."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.training.lightning_state import set_last_step, set_validation_interval, validation_is_due


class UnfinishedValidation(Callback):
    """Repeats the validation that a checkpoint was written before, and that no later checkpoint has the figures of."""

    def __init__(self) -> None:
        self.due = False

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.due = validation_is_due(checkpoint)
        self.max_steps = trainer.max_steps
        if self.due and trainer.max_steps == checkpoint["global_step"]:
            set_last_step(trainer, self.max_steps + 1)  # where only this is left, Lightning would not begin

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.due:
            self.interval = set_validation_interval(trainer, 1)  # now, whatever the interval says

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.due and trainer.state.fn == "fit" and not trainer.sanity_checking:
            set_last_step(trainer, self.max_steps)
            set_validation_interval(trainer, self.interval)
            self.due = False
