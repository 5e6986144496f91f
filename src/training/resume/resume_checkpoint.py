"""Write last.ckpt between validations, and when the run is stopped."""

from __future__ import annotations

import logging
import signal
import time
from enum import Enum, auto
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.system.counted import counted
from src.system.signals import Stopped, set_stop_handlers
from src.training.lightning_state import forget_announced_batch, is_step_begin, mark_validation
from src.training.slurm import requeue_job

log = logging.getLogger(__name__)


class Moment(Enum):
    """When a checkpoint is written; it decides how to correct Lightning's counters."""

    AFTER_VALIDATION = auto()
    BEFORE_VALIDATION = auto()
    BETWEEN_STEPS = auto()


class ResumeCheckpoint(Callback):
    """Writes a checkpoint before each validation, at regular intervals, and when a signal stops the run.

    After SIGINT (Ctrl-C), SIGTERM, SIGHUP or SIGUSR1, training finishes the step, writes the checkpoint and raises
    ``Stopped``; a second signal raises it at once. A validation stops at once, because the checkpoint was written
    before it; with several processes it is finished first, because they have to stop together.

    Args:
        path: file of the checkpoint.
        every_n_steps: largest number of steps between two checkpoints; None for no limit.
        every_minutes: longest time between two checkpoints; None for no limit.

    Raises:
        ValueError: if a number is not positive.
    """

    def __init__(self, path: str, every_n_steps: int | None = None, every_minutes: float | None = None) -> None:
        for name, value in {"every_n_steps": every_n_steps, "every_minutes": every_minutes}.items():
            if value is not None and value <= 0:
                raise ValueError(f"{name}={value}: must be positive, or null")
        self.path = Path(path)
        self.every_n_steps = every_n_steps or float("inf")
        self.every_seconds = 60 * (every_minutes or float("inf"))
        self.moment = Moment.AFTER_VALIDATION  # RunCheckpoint writes then
        self.stop_signal: int | None = None  # the signal that asked to stop
        self.is_validating = False
        self.resumed_step: int | None = None  # of the checkpoint that the run resumes from

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.trainer = trainer
        set_stop_handlers(self.on_signal)  # Lightning sets the previous ones again when the run ends
        self.restart_clock(trainer)

    def on_signal(self, number: int, frame: object) -> None:
        """Record a signal to stop; stop at once if it is the second, or if there is nothing to save."""
        nothing_to_save = self.is_validating and self.trainer.world_size == 1
        if self.stop_signal is not None or nothing_to_save:
            raise Stopped(number)
        self.stop_signal = number
        name = signal.Signals(number).name
        log.warning("%s: finishing this step; send the signal again (or press Ctrl-C) to stop at once", name)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Unlike ModelCheckpoint's every_n_train_steps, not at the end of the step: only now are its metrics logged and
        # a validation that was due finished. After a resume, Lightning would skip both.
        if trainer.world_size > 1 and not is_step_begin(trainer):
            # The processes have different gradients until the step. AccumulatedGradients would average them, but at an
            # arbitrary time this changes the rounding, and so the results of a run that is not interrupted.
            return
        is_stopping = self.stop_signal is not None
        if self.any_process(trainer, self.is_due(trainer) or is_stopping):
            self.save(trainer, Moment.BETWEEN_STEPS)
            self.stop_if_asked(trainer)

    def stop_if_asked(self, trainer: Trainer) -> None:
        """Raise ``Stopped`` if a signal has asked any process to stop."""
        if self.any_process(trainer, self.stop_signal is not None):
            raise Stopped(self.stop_signal or signal.SIGTERM)  # the signal may have gone to another process

    def is_due(self, trainer: Trainer) -> bool:
        """Return whether the last checkpoint is too many steps or minutes old."""
        steps = trainer.global_step - self.saved_step
        return steps > 0 and (steps >= self.every_n_steps or time.monotonic() - self.saved_time >= self.every_seconds)

    @staticmethod
    def any_process(trainer: Trainer, value: bool) -> bool:
        """Return whether a condition holds on any process."""
        return bool(trainer.strategy.reduce_boolean_decision(value, all=False))

    def save(self, trainer: Trainer, moment: Moment) -> None:
        """Write the checkpoint, and restart the count of steps and minutes."""
        self.moment = moment
        trainer.save_checkpoint(self.path)
        self.moment = Moment.AFTER_VALIDATION
        self.restart_clock(trainer)

    def restart_clock(self, trainer: Trainer) -> None:
        """Restart the count of steps and minutes since the last checkpoint."""
        self.saved_step, self.saved_time = trainer.global_step, time.monotonic()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        # An interrupted validation cannot be resumed, and a long one (CRF, large data set) is likely to be interrupted.
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.save(trainer, Moment.BEFORE_VALIDATION)
            self.stop_if_asked(trainer)
            self.is_validating = True

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.is_validating = False
        if not trainer.sanity_checking:
            self.restart_clock(trainer)  # RunCheckpoint has written a checkpoint

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.stop_if_asked(trainer)  # the last validation has already written its checkpoint

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.resumed_step = checkpoint["global_step"]
        for key in [key for key in checkpoint["callbacks"] if key.startswith("Timer")]:
            del checkpoint["callbacks"][key]  # trainer.max_time is the time of one process, not of the whole run

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step == self.resumed_step:
            log.info(
                "ckpt=%s: its %s done; nothing is left to train",
                trainer.ckpt_path,
                counted(self.resumed_step, "step is", "steps are"),
            )

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != "fit":
            return
        mark_validation(checkpoint, due=self.moment is Moment.BEFORE_VALIDATION)
        if self.moment is Moment.BETWEEN_STEPS:
            forget_announced_batch(checkpoint)

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        if not isinstance(exception, Stopped) or exception.is_explained or not self.path.is_file():
            return
        exception.is_explained = True
        if trainer.is_global_zero:
            log.warning("%s at step %d; resume with ckpt=%s", exception.signal.name, trainer.global_step, self.path)
            if exception.signal == signal.SIGUSR1:
                requeue_job()
