"""What may happen to a training, and the one line that says what to do."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from pickle import UnpicklingError

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from src.errors import UserError
from src.runs.checkpoint_files import previous
from src.runs.loggers import SIGTERM_EXIT
from src.training.lightning_state import callbacks_of, loader_workers

BROKEN = (OSError, EOFError, UnpicklingError)  # of a data worker that died with a batch half handed over

NEEDS_LESS = (
    "out of memory: lower data.batch_size (and raise trainer.accumulate_grad_batches, which keeps the effective one) "
    "or augmentation.crop_size, use trainer.precision=bf16-mixed, or a smaller backbone"
)


@contextmanager
def memory_advice() -> Iterator[None]:
    """Lack of memory, of whichever kind and wherever it shows, ends in a line that says what to turn."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if lacks_memory(error):
            raise UserError(NEEDS_LESS) from error
        raise


def lacks_memory(error: BaseException) -> bool:
    typed = isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError))
    return typed or "DefaultCPUAllocator: can't allocate" in str(error)


@contextmanager
def plain_accidents(trainer: Trainer) -> Iterator[None]:
    """SIGTERM ends in exit status 143; lack of memory and a dead data worker in a line that says what to turn."""
    try:
        yield
    except SIGTERMException:
        sys.exit(SIGTERM_EXIT)
    except (RuntimeError, MemoryError, *BROKEN) as error:
        if lacks_memory(error):
            raise UserError(NEEDS_LESS + go_on(trainer)) from error
        workers = next(callback for callback in callbacks_of(trainer) if isinstance(callback, WorkerNames))
        found = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(error))
        if pids := [int(pid) for pid in found[1].split(",")] if found else workers.dead:
            dead = ", ".join(workers.names.get(pid, f"with process {pid}") for pid in pids)
            raise UserError(
                f"data worker {dead} died, most likely for lack of memory: lower num_workers or the batch size (both "
                "of data, in training)" + go_on(trainer)
            ) from error
        raise


class WorkerNames(Callback):
    """Data workers by their processes when something happens; Lightning forgets them before it hands the error on."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.dead: list[int] = []

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        loaders = {"training": trainer.train_dataloader, "validation": trainer.val_dataloaders}
        found = {name: loader_workers(loader) for name, loader in loaders.items()}
        ends = [worker.sentinel for workers in found.values() for worker in workers]
        if ends and isinstance(exception, BROKEN):  # a worker's connection ends before it does
            wait(ends, timeout=1)
        for title, workers in found.items():
            for number, worker in enumerate(workers):
                code = worker.exitcode
                how = ""
                if code is not None and code < 0:
                    how = f", {signal.Signals(-code).name}"
                    self.dead.append(worker.pid)
                self.names[worker.pid] = f"{number} of {title} (process {worker.pid}{how})"


def go_on(trainer: Trainer) -> str:
    """What an error message says where there is a checkpoint."""
    last = Path(trainer.default_root_dir, "checkpoints", "last.ckpt")
    return f"; go on with ckpt={last}" if last.is_file() or previous(last).is_file() else ""
