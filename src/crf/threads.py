"""An executor whose threads do not prevent the program from exiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")
Task = tuple[Future[Any], Callable[[], Any]]


class DaemonThreads(Executor):
    """An executor like ``ThreadPoolExecutor``, but the program exits without waiting for threads that hang.

    Args:
        workers: number of threads.
        name: prefix of the threads' names.
        initializer: called at the start of every thread.
    """

    def __init__(self, workers: int, name: str, initializer: Callable[[], None]) -> None:
        self.tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.initializer = initializer
        self.threads = [
            threading.Thread(target=self.work, name=f"{name}_{number}", daemon=True) for number in range(workers)
        ]
        for thread in self.threads:
            thread.start()

    def submit(self, function: Callable[P, Result], /, *arguments: P.args, **options: P.kwargs) -> Future[Result]:
        """Return a future of ``function(*arguments, **options)``."""
        future: Future[Result] = Future()
        self.tasks.put((future, partial(function, *arguments, **options)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the threads after all submitted tasks.

        Args:
            wait: wait until the threads have ended.
            cancel_futures: cancel the tasks that no thread has started.
        """
        while cancel_futures:
            try:
                task = self.tasks.get_nowait()  # a thread may take the last task first, so get() might wait forever
            except Empty:
                break
            if task:
                task[0].cancel()
        for _ in self.threads:
            self.tasks.put(None)
        for thread in self.threads if wait else ():
            thread.join()

    def work(self) -> None:
        """Run tasks until ``None`` comes; the main loop of a thread."""
        self.initializer()
        while task := self.tasks.get():
            future, call = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            del task, future, call  # an idle thread must not keep an image alive
