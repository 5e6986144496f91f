"""When last.ckpt is written, besides after every validation."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from src.training.lightning_state import forget_announced_batch, mark_validation

log = logging.getLogger(__name__)


class ResumeCheckpoint(Callback):
    """Writes a checkpoint before each validation, on SIGTERM, and between two iterations when one is due.

    Args:
        path: of the checkpoint.
        every_n_steps: iterations from one checkpoint to the next at most; None for any number.
        every_minutes: time from one checkpoint to the next at most; None for any time.

    Raises:
        ValueError: if a number is not positive.
    """

    def __init__(self, path: str, every_n_steps: int | None = None, every_minutes: float | None = None) -> None:
        for name, value in {"every_n_steps": every_n_steps, "every_minutes": every_minutes}.items():
            if value is not None and value <= 0:
                raise ValueError(f"{name}={value}: must be positive, or None (null)")
        self.path = Path(path)
        self.every_n_steps = every_n_steps or float("inf")
        self.every_seconds = 60 * (every_minutes or float("inf"))
        self.moment = ""  # of the checkpoint being written, where Lightning's counters need a correction
        self.terminated = False  # by a SIGTERM, where there are several processes

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size > 1:
            # Lightning's own handler calls the other processes from wherever it is: two at once wait for ever.
            self.handler = signal.signal(signal.SIGTERM, self.note_termination)
        self.restart_clock(trainer)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size > 1:
            signal.signal(signal.SIGTERM, self.handler)

    def note_termination(self, *_: Any) -> None:
        self.terminated = True

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Here and not at the end of the step before, as ModelCheckpoint's every_n_train_steps: by now its figures are
        # logged and a validation that was due has run, which Lightning would both leave out after resuming.
        if self.any_process(trainer, self.is_due(trainer) or self.terminated):
            self.save(trainer, "between iterations")
            if self.any_process(trainer, self.terminated):
                self.terminated = True  # of another process too
                raise SIGTERMException

    def is_due(self, trainer: Trainer) -> bool:
        steps = trainer.global_step - self.saved_step
        return steps > 0 and (steps >= self.every_n_steps or time.monotonic() - self.saved_time >= self.every_seconds)

    @staticmethod
    def any_process(trainer: Trainer, value: bool) -> bool:
        return bool(trainer.strategy.reduce_boolean_decision(value, all=False))

    def save(self, trainer: Trainer, moment: str = "") -> None:
        self.moment = moment
        trainer.save_checkpoint(self.path)
        self.moment = ""
        self.restart_clock(trainer)

    def restart_clock(self, trainer: Trainer) -> None:
        self.saved_step, self.saved_time = trainer.global_step, time.monotonic()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        # A validation that is cut short leaves no state to go on from; CRF and large sets make it long.
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.save(trainer, "before validation")

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.restart_clock(trainer)  # RunCheckpoint has written one

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != "fit":
            return
        mark_validation(checkpoint, due=self.moment == "before validation")
        if self.moment == "between iterations":
            forget_announced_batch(checkpoint)

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, SIGTERMException):
            if not (trainer.validating or self.terminated):
                self.save(trainer)
            if trainer.is_global_zero:
                log.warning("SIGTERM at step %d; go on with ckpt=%s", trainer.global_step, self.path)
