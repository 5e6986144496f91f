"""Keep the loggers consistent across a resume."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from src.training.lightning_state import set_logged_step


class LoggedRun(Callback):
    """Writes the curves to disk before every checkpoint, stores the id of the W&B run in it, and corrects the steps."""

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in trainer.loggers:
            logger.save()  # a killed run must keep its curves up to here
        ids = [str(logger.version) for logger in trainer.loggers if isinstance(logger, WandbLogger) and logger.version]
        if ids:
            checkpoint["wandb_id"] = ids[0]

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: object, batch_idx: int) -> None:
        set_logged_step(trainer)

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        set_logged_step(trainer)  # for the metrics that are still to be logged
