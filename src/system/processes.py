"""Processes on this machine: how many cores they have, how they start, and who may work on a file."""

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
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
