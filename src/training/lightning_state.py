"""Every attribute of Lightning that is not part of its documented interface, and what it is needed for.

Nothing else in this project reads or sets one: when Lightning changes, it is mended here. The test of this file says in
words what has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning import Callback, Trainer


def callbacks_of(trainer: Trainer) -> Sequence[Callback]:
    """Return the callbacks of a trainer; the attribute has no type."""
    return vars(trainer)["callbacks"]


def log_interval(trainer: Trainer) -> int:
    """Return trainer.log_every_n_steps; the attribute has no type."""
    return vars(trainer)["log_every_n_steps"]


def batches_begun(trainer: Trainer) -> int:
    """Return the training batches that the run has begun, those before a resume included.

    The sampler goes on from there.
    """
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready


def batch_number(trainer: Trainer) -> int:
    """Return the number of the current training batch, counted over the whole run from 0."""
    return trainer.fit_loop.total_batch_idx


def set_logged_step(trainer: Trainer) -> None:
    """Have the loggers count the steps of the optimiser.

    A checkpoint that is written within an iteration holds their count one short, and Lightning does not always mend
    that after a resume.
    """
    trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def has_begun_to_fetch(trainer: Trainer) -> bool:
    """Tell whether Lightning has opened the training loader before the training, to see how long an epoch is."""
    return trainer.fit_loop._data_fetcher is not None


def fetch_anew(trainer: Trainer) -> None:
    """Begin the training loader again, from the place that has been restored since it was opened."""
    if trainer.fit_loop._data_fetcher is not None:
        iter(trainer.fit_loop._data_fetcher)


def set_last_step(trainer: Trainer, step: int) -> None:
    """End the run after so many steps; Lightning does not begin a run that has none to go."""
    trainer.fit_loop.epoch_loop.max_steps = step


def set_validation_interval(trainer: Trainer, batches: float | None) -> float | None:
    """Validate after so many batches, and return what the interval was."""
    before, trainer.val_check_batch = trainer.val_check_batch, batches
    return before


def validation_is_due(checkpoint: dict[str, Any]) -> bool:
    """Tell whether a checkpoint was written before a validation that has yet to run; see ``mark_validation``."""
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
    return batches["ready"] > batches["completed"]


def mark_validation(checkpoint: dict[str, Any], due: bool) -> None:
    """Note in a checkpoint whether a validation is due: as one that has begun its first image.

    Lightning would leave it out after a resume.
    """
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
    batches["ready"] = batches["started"] = batches["completed"] + due


def forget_announced_batch(checkpoint: dict[str, Any]) -> None:
    """Take back the batch that was announced before a checkpoint between two iterations; it will be again."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for count in ("total", "current"):
        progress[count]["ready"] -= 1


def loader_workers(loader: Any) -> Sequence[Any]:
    """Return the processes of a torch DataLoader that is being iterated over; none where it has none."""
    return getattr(getattr(loader, "_iterator", None), "_workers", [])
