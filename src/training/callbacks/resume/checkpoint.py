"""Write last.ckpt between validations, and when the run is stopped."""

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
    """Writes a checkpoint before each validation, on SIGTERM, and between two steps when one is due.

    Args:
        path: file of the checkpoint.
        every_n_steps: steps from one checkpoint to the next at most; None for no limit.
        every_minutes: time from one checkpoint to the next at most; None for no limit.

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
        self.moment = ""  # when the checkpoint is being written, if Lightning's counters need a correction then
        self.terminated = False  # whether a SIGTERM has arrived; used with several processes only

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size > 1:
            # Lightning's own handler communicates with the other processes at once, and two such calls can deadlock.
            self.handler = signal.signal(signal.SIGTERM, self.note_termination)
        self.restart_clock(trainer)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size > 1:
            signal.signal(signal.SIGTERM, self.handler)

    def note_termination(self, *_: Any) -> None:
        """Remember that a SIGTERM has arrived."""
        self.terminated = True

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Not at the end of the step before, as ModelCheckpoint's every_n_train_steps does it: only now its metrics are
        # logged and a validation that was due has run. Lightning would leave out both after a resume.
        if self.any_process(trainer, self.is_due(trainer) or self.terminated):
            self.save(trainer, "between iterations")
            if self.any_process(trainer, self.terminated):
                self.terminated = True  # in another process as well
                raise SIGTERMException

    def is_due(self, trainer: Trainer) -> bool:
        """Tell whether the last checkpoint is too many steps or minutes ago."""
        steps = trainer.global_step - self.saved_step
        return steps > 0 and (steps >= self.every_n_steps or time.monotonic() - self.saved_time >= self.every_seconds)

    @staticmethod
    def any_process(trainer: Trainer, value: bool) -> bool:
        """Tell whether a condition holds on any process."""
        return bool(trainer.strategy.reduce_boolean_decision(value, all=False))

    def save(self, trainer: Trainer, moment: str = "") -> None:
        """Write the checkpoint; ``moment`` names when, if Lightning's counters need a correction."""
        self.moment = moment
        trainer.save_checkpoint(self.path)
        self.moment = ""
        self.restart_clock(trainer)

    def restart_clock(self, trainer: Trainer) -> None:
        """Count steps and minutes from now."""
        self.saved_step, self.saved_time = trainer.global_step, time.monotonic()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        # An interrupted validation cannot be resumed, and with a CRF or a large data set it takes long.
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
                log.warning("SIGTERM at step %d; resume with ckpt=%s", trainer.global_step, self.path)
