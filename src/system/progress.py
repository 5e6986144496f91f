"""Show the progress of work that takes long: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.progress import track

log = logging.getLogger(__name__)

Item = TypeVar("Item")

INTERVAL = 30.0  # between two lines


class ProgressLines:
    """Logs a line about the progress of some work, at most every half minute.

    Args:
        title: of the work, such as "validation".
        total: how many items there are; None or infinity if that is not known.
        completed: items that are done already.
        clock: returns the time in seconds.
    """

    def __init__(
        self, title: str, total: float | None, completed: float = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title, self.total, self.clock = title, total, clock
        self.first = completed
        self.start = self.last = clock()

    def update(self, completed: float, details: str = "") -> bool:
        """Log a line if one is due, and tell whether it was.

        Args:
            completed: items that are done now.
            details: more about them, for the middle of the line.
        """
        now = self.clock()
        if now - self.last < INTERVAL:
            return False
        self.last = now
        of_total, left = "", ""
        if self.total is not None and self.total != float("inf"):
            of_total = f"/{self.total:.0f}"
            if completed > self.first:
                rest = (now - self.start) * (self.total - completed) / (completed - self.first)
                left = f"{timedelta(seconds=round(rest))} left"
        log.info("%s", "  ".join(filter(None, (f"{self.title} {completed:.0f}{of_total}", details, left))))
        return True


def tracked(items: Iterable[Item], title: str, total: int | None = None, transient: bool = True) -> Iterator[Item]:
    """Yield the items, and show how many of them are done.

    Args:
        items: what is worked on.
        title: of the work.
        total: how many items there are; None for ``len(items)``, if it has a length.
        transient: whether the bar vanishes at the end.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if Console().is_terminal:
        yield from track(items, title, total=total, transient=transient)
        return
    lines = ProgressLines(title, total)
    for completed, item in enumerate(items):
        lines.update(completed)
        yield item
