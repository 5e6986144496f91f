"""How fast the weights learn, and how fast images go by."""

from time import perf_counter
from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.training.datamodule import Batch
from src.training.lightning_state import log_interval


class Rates(Callback):
    """Logs ``lr/GROUP`` for every parameter group, and ``train/images_per_second``; nothing where nobody listens.

    Images are those of all devices over the iterations since the last figure, waiting for the loader included,
    validations and their checkpoints not.
    """

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.images, self.seconds = 0, 0.0
        self.since: float | None = None
        self.logged = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if self.since is None:
            self.since = perf_counter()
        if trainer.loggers:
            for number, group in enumerate(trainer.optimizers[0].param_groups):
                module.log(f"lr/{group.get('name', number)}", group["lr"], batch_size=1)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        assert self.since is not None
        now = perf_counter()
        self.images += len(batch["id"]) * trainer.world_size
        self.seconds, self.since = self.seconds + now - self.since, now
        step, every = trainer.global_step, log_interval(trainer)
        if trainer.loggers and every and step % every == 0 and step != self.logged:  # not again while accumulating
            module.log("train/images_per_second", self.images / self.seconds, batch_size=1)
            self.images, self.seconds, self.logged = 0, 0.0, step

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.since = None
