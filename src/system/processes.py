"""Processes on this machine: available cores, start method, and locks."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_method(workers: int) -> str | None:
    """Return the ``multiprocessing_context`` for a data loader; None for the current start method.

    joblib's processes use its own start method, with which PyTorch's loader cannot start workers. There, this is
    Python's default.
    """
    known = multiprocessing.get_all_start_methods()
    return known[0] if workers and multiprocessing.get_start_method() not in known else None


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock on ``path`` during the block; if another process holds it, log that and wait."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s: another process is working on it; waiting", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
