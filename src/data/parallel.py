"""Map a function over indices with several processes."""

from __future__ import annotations

import atexit
import multiprocessing.util  # registers its exit function first, so that it runs last
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from src.data.dataset import DatasetError
from src.system.processes import start_method
from src.system.progress import tracked
from src.system.signals import ignore_stop_signals, signals_held_back

Result = TypeVar("Result")


def over_cores(function: Callable[[int], Result], count: int, title: str, workers: int) -> Iterator[Result]:
    """Yield ``function(0)``, ``function(1)``, ... in this order, and show the progress.

    Args:
        function: the function; it and its results must be picklable.
        count: number of indices.
        title: title of the progress bar.
        workers: number of processes; 0 to compute in this process.

    Raises:
        DatasetError: if a process was killed.
    """
    processes = min(workers, count)
    loader = WorkerLoader(
        Calls(function, count),
        batch_size=None,
        num_workers=processes,
        multiprocessing_context=start_method(processes),
        worker_init_fn=ignore_stop_signals,
        collate_fn=as_is,
    )
    try:
        yield from tracked(loader, title, count)
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
        raise DatasetError(f"{title}: a process was killed, probably for lack of memory; use fewer workers") from error


@atexit.register
def kill_daemons() -> None:
    """Kill remaining workers when this process ends.

    PyTorch normally ends a loader's workers, but not if an error, such as a lack of memory, occurs while they
    start. ``multiprocessing`` would then send SIGTERM, which workers ignore, and wait for them forever.
    """
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


class WorkerLoader(DataLoader):
    """A DataLoader whose workers cannot be stopped by a group signal before ``worker_init_fn`` has run.

    The death of a worker is raised where the main process waits for its data, within a few seconds.
    """

    def __iter__(self) -> Any:
        with signals_held_back(), child_signals_left_alone():
            return super().__iter__()


@contextmanager
def child_signals_left_alone() -> Iterator[None]:
    """Remove the handler of SIGCHLD that PyTorch sets in the block.

    It would raise the death of a worker wherever the main thread is. In a destructor or a logging handler, Python
    prints such an error with its traceback, and goes on as if nothing had happened.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if in_main_thread and hasattr(signal, "SIGCHLD") else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGCHLD, before)


class Calls(Dataset):
    """A function's calls as a data set, which PyTorch's loader distributes over processes."""

    def __init__(self, function: Callable[[int], Any], count: int) -> None:
        self.function = function
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.function(index)


def as_is(value: Any) -> Any:
    """Return a value unchanged; replaces the loader's conversion to tensors."""
    return value
