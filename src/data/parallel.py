"""A function of many indices over the cores of this machine, and what only one process may do at a time."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from src.data.dataset import DatasetError

log = logging.getLogger(__name__)

Result = TypeVar("Result")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_cores(function: Callable[[int], Result], count: int, title: str, workers: int) -> Iterator[Result]:
    """``function(0)``, ``function(1)``, ... in this order, with a progress bar where there is a terminal.

    Args:
        function: it and its results must pickle.
        workers: processes; 0 computes in this one.

    Raises:
        DatasetError: if a process was killed.
    """
    processes = min(workers, count)
    loader = DataLoader(
        Calls(function, count),
        batch_size=None,
        num_workers=processes,
        multiprocessing_context=start_method(processes),
        collate_fn=as_is,
    )
    try:
        yield from track(loader, title, total=count, transient=True, disable=not Console().is_terminal)
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
        raise DatasetError(f"{title}: a process was killed, most likely for memory; take fewer workers") from error


def start_method(workers: int) -> str | None:
    """How a loader starts its processes, for ``multiprocessing_context``: Python's way, unless somebody chose another.

    joblib's processes have a way of their own, in which torch's loader cannot start any.
    """
    known = multiprocessing.get_all_start_methods()
    return known[0] if workers and multiprocessing.get_start_method() not in known else None


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """The first process to come goes on; others wait for it, and say so."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s: another process is at it; waiting", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Calls(Dataset):
    """The calls of a function as a dataset, so that torch's loader is what shares them out."""

    def __init__(self, function: Callable[[int], Any], count: int) -> None:
        self.function = function
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.function(index)


def as_is(value: Any) -> Any:
    return value
