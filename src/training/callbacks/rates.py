"""Log the learning rates and the speed of training."""

from time import perf_counter
from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.training.datamodule import Batch
from src.training.lightning_state import get_log_interval


class Rates(Callback):
    """Logs ``lr/GROUP`` for every parameter group, and ``train/images_per_second``.

    The speed counts the images of all devices since it was last logged. It includes the time spent waiting for the
    loader, but not validations and their checkpoints. Without loggers, nothing is logged.
    """

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.images, self.seconds = 0, 0.0
        self.start: float | None = None
        self.logged = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if self.start is None:
            self.start = perf_counter()
        if trainer.loggers:
            for number, group in enumerate(trainer.optimizers[0].param_groups):
                module.log(f"lr/{group.get('name', number)}", group["lr"], batch_size=1)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        assert self.start is not None
        end = perf_counter()
        self.images += len(batch["id"]) * trainer.world_size
        self.seconds, self.start = self.seconds + end - self.start, end
        step, interval = trainer.global_step, get_log_interval(trainer)
        if trainer.loggers and interval and step % interval == 0 and step != self.logged:  # once per step
            module.log("train/images_per_second", self.images / self.seconds, batch_size=1)
            self.images, self.seconds, self.logged = 0, 0.0, step

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.start = None
