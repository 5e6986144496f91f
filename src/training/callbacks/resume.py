"""What makes a resumed run the same run."""

from __future__ import annotations

import logging
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from src.errors import UserError

log = logging.getLogger(__name__)


class ExactResume(Callback):
    """Randomness by the step, checkpoints that a run can go on from exactly, the W&B run's id.

    Dropout and the like are drawn from seed, step and process, so that a checkpoint needs no generators' states. The
    order of samples and their augmentation come from ``ResumableSampler`` alike. A checkpoint is written before each
    validation, on SIGTERM, and between two iterations when one is due; the loggers' curves are on disk before it is.

    Args:
        path: of the checkpoint.
        seed: of the run.
        every_n_steps: iterations from one checkpoint to the next at most; None for any number.
        every_minutes: time from one checkpoint to the next at most; None for any time.
    """

    def __init__(
        self, path: str, seed: int, every_n_steps: int | None = None, every_minutes: float | None = None
    ) -> None:
        if any(every is not None and every <= 0 for every in (every_n_steps, every_minutes)):
            raise ValueError("callbacks.resume: every_n_steps and every_minutes must be positive, or null for none")
        self.path = Path(path)
        self.seed = seed
        self.every_n_steps = every_n_steps or float("inf")
        self.every_seconds = 60 * (every_minutes or float("inf"))
        self.moment = ""  # of the checkpoint being written, where Lightning's counters need a word
        self.gradients: dict[str, Tensor] = {}  # that were adding up in the run that goes on
        self.began_early = self.must_validate = False
        self.terminated = False  # by a SIGTERM, where there are several processes

    def on_load_checkpoint(self, trainer: Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        before, now = checkpoint["lr_schedulers"][0].get("total_iters"), module.decay_length
        if now is not None and before != now:  # restored, the rate would stay at 0 from there on
            raise UserError(
                f"ckpt={trainer.ckpt_path}: its learning rate decays over {before} iterations (now {now}): go on with "
                "the trainer.max_steps that the run began with, or begin another with init_from="
            )
        self.gradients = checkpoint.get("gradients", {})
        validations = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
        self.began_early = trainer.fit_loop._data_fetcher is not None  # to tell decay_length how long an epoch is
        self.must_validate = validations["ready"] > validations["completed"]
        self.max_steps = trainer.max_steps
        if self.must_validate and trainer.max_steps == checkpoint["global_step"]:
            trainer.fit_loop.epoch_loop.max_steps += 1  # where only this is left, Lightning would not begin

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.began_early and (fetcher := trainer.fit_loop._data_fetcher) is not None:
            iter(fetcher)  # anew: Lightning has restored the run's place in between
        if trainer.world_size > 1:
            # Lightning's own handler calls the other processes from wherever it is: two at once wait for ever.
            self.handler = signal.signal(signal.SIGTERM, self.note_termination)
        if self.must_validate:
            self.interval, trainer.val_check_batch = trainer.val_check_batch, 1  # now, whatever the interval says
        for name, parameter in module.named_parameters():
            if name in self.gradients:
                parameter.grad = self.gradients[name].to(parameter.device)
        self.gradients = {}
        self.written(trainer)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Here and not at the end of the step before, as ModelCheckpoint's every_n_train_steps: by now its figures are
        # logged and a validation that was due has run, which Lightning would both leave out after resuming.
        if self.agreed(trainer, self.is_due(trainer) or self.terminated):
            self.save(trainer, "between iterations")
            if self.agreed(trainer, self.terminated):
                self.terminated = True  # of another process too
                raise SIGTERMException
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step  # see on_fit_end
        key = (self.seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)
        state = int(np.random.SeedSequence(key).generate_state(1)[0])
        torch.manual_seed(state)
        np.random.seed(state)
        random.seed(state)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size > 1:
            signal.signal(signal.SIGTERM, self.handler)

    def note_termination(self, *_: Any) -> None:
        self.terminated = True

    def is_due(self, trainer: Trainer) -> bool:
        steps = trainer.global_step - self.saved_step
        return steps > 0 and (steps >= self.every_n_steps or time.monotonic() - self.saved_time >= self.every_seconds)

    def agreed(self, trainer: Trainer, wanted: bool) -> bool:
        """Whether any process wants it."""
        return bool(trainer.strategy.reduce_boolean_decision(wanted, all=False))

    def save(self, trainer: Trainer, moment: str = "") -> None:
        self.moment = moment
        trainer.save_checkpoint(self.path)
        self.moment = ""
        self.written(trainer)

    def written(self, trainer: Trainer) -> None:
        self.saved_step, self.saved_time = trainer.global_step, time.monotonic()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        # A validation that is cut short leaves no state to go on from; CRF and large sets make it long.
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.save(trainer, "before validation")

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self.written(trainer)  # by RunCheckpoint
        if trainer.state.fn == "fit" and self.must_validate:
            trainer.fit_loop.epoch_loop.max_steps, trainer.val_check_batch = self.max_steps, self.interval
            self.must_validate = False

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        # The step of figures to come. A checkpoint has it one short, and Lightning does not always mend that.
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, SIGTERMException):
            if not (trainer.validating or self.terminated):
                self.save(trainer)
            if trainer.is_global_zero:
                log.warning("SIGTERM at step %d; go on with ckpt=%s", trainer.global_step, self.path)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in trainer.loggers:
            logger.save()  # the curve up to here must not be lost to a kill
        ids = [str(logger.version) for logger in trainer.loggers if isinstance(logger, WandbLogger) and logger.version]
        if ids:
            checkpoint["wandb_id"] = ids[0]
        if trainer.state.fn != "fit":
            return
        if trainer.accumulate_grad_batches > 1:
            checkpoint["gradients"] = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
        loops = checkpoint["loops"]["fit_loop"]
        validations = loops["epoch_loop.val_loop.batch_progress"]["total"]
        # One that is due has as if begun its first image: Lightning would leave it out, where here it has yet to run.
        due = self.moment == "before validation"
        validations["ready"] = validations["started"] = validations["completed"] + due
        if self.moment == "between iterations":
            for count in ("total", "current"):  # the next batch has been announced, and will be again
                loops["epoch_loop.batch_progress"][count]["ready"] -= 1
