"""Turn failures during training, such as lack of memory, into one-line errors that name the remedy."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from pickle import UnpicklingError

import torch
from lightning import Callback, LightningModule, Trainer

from src.runs.checkpoints import has_version
from src.system.errors import UserError
from src.training.lightning_state import get_callbacks, get_loader_workers

WORKER_ERRORS = (OSError, EOFError, UnpicklingError)  # raised when a data worker dies while it sends a batch

OUT_OF_MEMORY = (
    "out of memory: lower data.batch_size (and raise trainer.accumulate_grad_batches, which keeps the effective one) "
    "or augmentation.crop_size, use trainer.precision=bf16-mixed, or a smaller backbone"
)


@contextmanager
def explain_lack_of_memory() -> Iterator[None]:
    """Turn an out-of-memory error in the block into a ``UserError`` that names the settings to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise UserError(OUT_OF_MEMORY) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the CPU or the GPU has run out of memory."""
    is_memory_error = isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError))
    return is_memory_error or "DefaultCPUAllocator: can't allocate" in str(error)


@contextmanager
def explain_failures(trainer: Trainer, last: Path | None = None) -> Iterator[None]:
    """Explain failures in the block: lack of memory, dead data workers, operations that are not deterministic.

    Args:
        trainer: the trainer that runs in the block.
        last: path of the checkpoint to resume from, if training writes one.

    Raises:
        UserError: if memory runs out, a data worker dies, or ``trainer.deterministic`` cannot be kept.
    """
    try:
        yield
    except (RuntimeError, MemoryError, *WORKER_ERRORS) as error:
        if is_out_of_memory(error):
            raise UserError(OUT_OF_MEMORY + resume_hint(last)) from error
        if match := re.match(r"(\w+) does not have a deterministic implementation", str(error)):
            raise UserError(
                f"trainer.deterministic=true: {match[1]} has no deterministic form on this device; set "
                "trainer.deterministic=warn, or loss.grid=scores if loss.grid is image"
            ) from error
        workers = next(callback for callback in get_callbacks(trainer) if isinstance(callback, WorkerNames))
        match = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(error))
        if pids := [int(pid) for pid in match[1].split(",")] if match else workers.dead:
            dead = ", ".join(workers.names.get(pid, f"with process {pid}") for pid in pids)
            raise UserError(
                f"data worker {dead} died, most likely for lack of memory: lower num_workers or the batch "
                "size (in training, data.num_workers and data.batch_size)" + resume_hint(last)
            ) from error
        raise


class WorkerNames(Callback):
    """Names the data workers by process id when an exception occurs.

    Lightning discards the workers before it re-raises the exception.

    Attributes:
        names: description of each data worker, by process id.
        dead: process ids of the workers that a signal killed.
    """

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.dead: list[int] = []

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        loaders = {"training": trainer.train_dataloader, "validation": trainer.val_dataloaders}
        workers_by_loader = {title: get_loader_workers(loader) for title, loader in loaders.items()}
        sentinels = [worker.sentinel for workers in workers_by_loader.values() for worker in workers]
        if sentinels and isinstance(exception, WORKER_ERRORS):  # the connection breaks before the process ends
            wait(sentinels, timeout=1)
        for title, workers in workers_by_loader.items():
            for number, worker in enumerate(workers):
                code = worker.exitcode
                death = ""
                if code is not None and code < 0:
                    death = f", {signal.Signals(-code).name}"
                    self.dead.append(worker.pid)
                self.names[worker.pid] = f"{number} of {title} (process {worker.pid}{death})"


def resume_hint(last: Path | None) -> str:
    """Return the end of an error message, which says how to resume; empty if there is no checkpoint."""
    return f"; resume with ckpt={last}" if last and has_version(last) else ""
