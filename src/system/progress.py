"""Show the progress of long work: a bar on a terminal, occasional lines in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from datetime import timedelta
from typing import TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")

INTERVAL = 30.0  # seconds between two lines


class ProgressLines:
    """Logs a progress line at most every half minute.

    Args:
        title: title of the work, such as "validation".
        total: number of items; None or infinity if unknown.
        completed: number of items already done.
        clock: returns the time in seconds.
    """

    def __init__(
        self, title: str, total: float | None, completed: float = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title, self.total, self.clock = title, total, clock
        self.first = completed
        self.start = self.last = clock()

    def is_due(self) -> bool:
        """Return whether ``update`` would log a line now."""
        return self.clock() - self.last >= INTERVAL

    def update(self, completed: float, details: str = "") -> bool:
        """Log a line if one is due, and return whether it was.

        Args:
            completed: number of items done.
            details: further text for the line.
        """
        if not self.is_due():
            return False
        self.last = now = self.clock()
        total, remaining = "", ""
        if self.total is not None and self.total != float("inf"):
            total = f"/{self.total:.0f}"
            if completed > self.first:
                seconds = (now - self.start) * (self.total - completed) / (completed - self.first)
                remaining = f"{timedelta(seconds=round(seconds))} left"
        log.info("%s", "  ".join(filter(None, (f"{self.title} {completed:.0f}{total}", details, remaining))))
        return True


def tracked(items: Iterable[Item], title: str, total: int | None = None, transient: bool = True) -> Iterator[Item]:
    """Yield the items and show the progress.

    Args:
        items: the items to work on.
        title: title of the work.
        total: number of items; None for ``len(items)``, if it has a length.
        transient: whether the bar disappears at the end.
    """
    from rich.console import Console  # here, because --help and error messages must not wait for it
    from rich.progress import track

    if total is None and isinstance(items, Sized):
        total = len(items)
    if Console().is_terminal:
        yield from track(items, title, total=total, transient=transient)
        return
    lines = ProgressLines(title, total)
    for completed, item in enumerate(items):
        lines.update(completed)
        yield item
