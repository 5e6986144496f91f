"""Accessors for attributes of Lightning that are not part of its documented interface.

No other module of this project reads or sets them, so a change in Lightning is handled here. The tests of this module
explain what each attribute is needed for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning import Callback, Trainer


def get_callbacks(trainer: Trainer) -> Sequence[Callback]:
    """Return the callbacks of a trainer; Lightning does not type the attribute."""
    return vars(trainer)["callbacks"]


def get_log_interval(trainer: Trainer) -> int:
    """Return ``trainer.log_every_n_steps``; Lightning does not type the attribute."""
    return vars(trainer)["log_every_n_steps"]


def count_begun_batches(trainer: Trainer) -> int:
    """Return the number of training batches started, including those before a resume.

    The sampler continues after these batches.
    """
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready


def is_step_begin(trainer: Trainer) -> bool:
    """Return whether the current training batch is the first of an optimiser step, before it has been trained."""
    return (count_begun_batches(trainer) - 1) % trainer.accumulate_grad_batches == 0


def get_batch_index(trainer: Trainer) -> int:
    """Return the index of the current training batch, counted from 0 over the whole run."""
    return trainer.fit_loop.total_batch_idx


def accumulate_across_epochs(trainer: Trainer) -> None:
    """Make ``accumulate_grad_batches`` count the batches of the whole run.

    Lightning counts the batches of an epoch, and makes a step at its last batch, however few gradients it has gathered.
    """
    loop, accumulate = trainer.fit_loop.epoch_loop, trainer.accumulate_grad_batches
    make_zero_grad = loop.automatic_optimization._make_zero_grad_fn

    def should_accumulate() -> bool:
        return count_begun_batches(trainer) % accumulate != 0

    def make_zero_grad_of_run(batch_index: int, optimizer: Any) -> Any:
        return make_zero_grad(count_begun_batches(trainer) - 1, optimizer)

    vars(loop)["_should_accumulate"] = should_accumulate
    vars(loop.automatic_optimization)["_make_zero_grad_fn"] = make_zero_grad_of_run


def set_logged_step(trainer: Trainer) -> None:
    """Make the loggers count optimiser steps.

    A checkpoint that is written during a step stores a count that is one too low, and Lightning does not always
    correct it after a resume.
    """
    trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def has_begun_to_fetch(trainer: Trainer) -> bool:
    """Return whether Lightning has already opened the training loader, which it does to get the length of an epoch."""
    return trainer.fit_loop._data_fetcher is not None


def restart_loader(trainer: Trainer) -> None:
    """Restart the training loader at the position restored from the checkpoint."""
    if trainer.fit_loop._data_fetcher is not None:
        iter(trainer.fit_loop._data_fetcher)


def set_last_step(trainer: Trainer, step: int) -> None:
    """Set the step after which the run ends; Lightning does not start a run without steps left."""
    trainer.fit_loop.epoch_loop.max_steps = step


def set_validation_interval(trainer: Trainer, batches: float | None) -> float | None:
    """Set the number of batches between validations, and return the previous number."""
    previous, trainer.val_check_batch = trainer.val_check_batch, batches
    return previous


def is_validation_due(checkpoint: dict[str, Any]) -> bool:
    """Return whether a checkpoint was written before a validation that has not run yet; see ``mark_validation``."""
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
    return batches["ready"] > batches["completed"]


def mark_validation(checkpoint: dict[str, Any], due: bool) -> None:
    """Record in a checkpoint whether a validation is due, by marking its first image as started.

    Otherwise Lightning would skip the validation after a resume.
    """
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
    batches["ready"] = batches["started"] = batches["completed"] + due


def forget_announced_batch(checkpoint: dict[str, Any]) -> None:
    """Subtract the batch that Lightning has already counted but not trained, from a checkpoint between two steps."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for count in ("total", "current"):
        progress[count]["ready"] -= 1


def get_loader_workers(loader: Any) -> Sequence[Any]:
    """Return the processes of a torch DataLoader's data workers during an iteration; empty if there are none."""
    return getattr(getattr(loader, "_iterator", None), "_workers", [])
