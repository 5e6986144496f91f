"""Compute a function of many indices on all cores of this machine."""

from __future__ import annotations

import atexit
import multiprocessing.util  # its own function for the end of the process is registered first, and so runs last
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from src.data.dataset import DatasetError
from src.system.processes import start_method
from src.system.progress import tracked
from src.system.signals import ignore_stop_signals, signals_held_back

Result = TypeVar("Result")


def over_cores(function: Callable[[int], Result], count: int, title: str, workers: int) -> Iterator[Result]:
    """Yield ``function(0)``, ``function(1)``, ... in this order, with a progress bar on a terminal.

    Args:
        function: the function; it and its results must be picklable.
        count: number of indices.
        title: text beside the progress bar.
        workers: number of processes; 0 computes in this process.

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
        raise DatasetError(f"{title}: a process was killed, most likely for memory; take fewer workers") from error


@atexit.register
def kill_daemons() -> None:
    """Kill the workers that are left when this process ends.

    PyTorch ends the workers of a loader itself, but not if an error, such as that of another worker's death, comes
    while they start. ``multiprocessing`` would then send SIGTERM, which workers ignore, and wait for them.
    """
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


class WorkerLoader(DataLoader):
    """A DataLoader whose workers no signal of their group can stop before ``worker_init_fn`` has run."""

    def __iter__(self) -> Any:
        with signals_held_back():
            return super().__iter__()


class Calls(Dataset):
    """The calls of a function as a data set, so that PyTorch's loader distributes them over processes."""

    def __init__(self, function: Callable[[int], Any], count: int) -> None:
        self.function = function
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.function(index)


def as_is(value: Any) -> Any:
    """Return a value unchanged, in place of the loader's conversion to tensors."""
    return value
