"""Results of work that runs in the background, taken in the order in which the work was submitted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
Context = TypeVar("Context")


class OrderedFutures(Generic[Result, Context]):
    """Futures under way; each is passed to a function once it is done and all before it have been passed.

        pending = OrderedFutures(lambda future, label: metrics.update(future.result(), label))
        for image, scores, label in samples:
            pending.add(pool.refine(image, scores), label)
        pending.finish()

    Args:
        take: is called with a future and the context it was added with, in the thread that calls ``add`` or
            ``finish``. The future is done, unless ``add`` or ``finish`` has to wait for it: ``take`` may then wait with
            ``future.result(timeout)``. What it raises is passed on; the futures behind stay.
        limit: futures that may be under way; ``add`` waits for the first one beyond that. None for any number.
    """

    def __init__(self, take: Callable[[Future[Result], Context], Any], limit: int | None = None) -> None:
        self.take = take
        self.limit = limit
        self.pending: deque[tuple[Future[Result], Context]] = deque()

    def __len__(self) -> int:
        return len(self.pending)

    def add(self, future: Future[Result], context: Context) -> None:
        """Append a future, then take what is done at the front."""
        self.pending.append((future, context))
        while self.pending and (self.pending[0][0].done() or (self.limit is not None and len(self) > self.limit)):
            self.take(*self.pending.popleft())

    def finish(self) -> None:
        """Wait for all futures and take them."""
        while self.pending:
            self.take(*self.pending.popleft())

    def clear(self) -> None:
        """Forget all futures; they are neither waited for nor taken."""
        self.pending.clear()
