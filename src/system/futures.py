"""Handle the results of background work in the order in which the work was submitted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
Context = TypeVar("Context")


class OrderedFutures(Generic[Result, Context]):
    """A queue of futures; each is passed to a function when it and all before it are done.

        pending = OrderedFutures(lambda future, label: metrics.update(future.result(), label))
        for image, scores, label in samples:
            pending.add(pool.refine_labels(image, scores), label)
        pending.finish()

    Args:
        take: called with a future and the context it was added with, in the thread that calls ``add`` or ``finish``.
            The future is done, unless ``add`` or ``finish`` must wait for it; ``take`` may then wait with
            ``future.result(timeout)``. Its errors propagate; the remaining futures stay in the queue.
        limit: maximum number of futures in the queue; above it, ``add`` waits for the first one. None for no limit.
    """

    def __init__(self, take: Callable[[Future[Result], Context], Any], limit: int | None = None) -> None:
        self.take = take
        self.limit = limit
        self.pending: deque[tuple[Future[Result], Context]] = deque()

    def __len__(self) -> int:
        return len(self.pending)

    def add(self, future: Future[Result], context: Context) -> None:
        """Append a future, then take the finished ones at the front."""
        self.pending.append((future, context))
        while self.pending and (self.pending[0][0].done() or (self.limit is not None and len(self) > self.limit)):
            self.take(*self.pending.popleft())

    def finish(self) -> None:
        """Wait for all futures and take them."""
        while self.pending:
            self.take(*self.pending.popleft())

    def clear(self) -> None:
        """Discard all futures without waiting for them or taking them."""
        self.pending.clear()
