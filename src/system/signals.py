"""Stop on a signal: end in order, with the exit status that shells expect."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

# Ctrl-C; kill, SLURM and systemd; a terminal that is closed; SLURM's --signal=USR1, before the time is up
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)

SECONDS = 1.0  # a signal that comes again within them is the same request

Handler = Callable[[int, FrameType | None], Any]


class Stopped(SystemExit):
    """Raised when a signal asks this process to stop; the exit status is 128 + the signal's number.

    Attributes:
        signal: the signal.
        is_explained: whether the user has been told how to go on.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)
        self.is_explained = False

    def __reduce__(self) -> tuple[type[Stopped], tuple[int]]:
        return Stopped, (self.signal,)  # joblib sends it from process to process


def find_stop(error: BaseException | None) -> Stopped | None:
    """Return the ``Stopped`` that led to an error, in a library that cannot be left everywhere; None if none did."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal: raise ``Stopped``."""
    raise Stopped(number)


@contextmanager
def handle_stop_signals(handler: Handler = stop) -> Iterator[None]:
    """Handle all stop signals in the block. A signal that the process ignores, as under nohup, stays ignored."""
    previous = set_stop_handlers(handler)
    try:
        yield
    finally:
        for number, handler_before in previous.items():
            signal.signal(number, handler_before)


def set_stop_handlers(handler: Handler) -> dict[int, Handler | int]:
    """Set the handler of all stop signals that are not ignored, and return the previous handlers by signal.

    timeout(1) and SLURM send a signal to a process and then to its group, so that it arrives twice: repetitions within
    a second are ignored. Outside of the main thread, which alone can set handlers, nothing is set.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    previous: dict[int, Handler | int] = {}
    for number in STOP_SIGNALS:
        before = signal.getsignal(number)
        if before is not None and before != signal.SIG_IGN:  # None: of a library in C, which could not be set again
            previous[number] = before
    received = float("-inf")

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if (now := time.monotonic()) - received < SECONDS:
            return
        received = now
        if signal.Signals(number).name == "SIGHUP":  # which Windows lacks
            leave_closed_terminal()
        handler(number, frame)

    for number in previous:
        signal.signal(number, handle)
    return previous


def leave_closed_terminal() -> None:
    """Discard further output to a terminal that has been closed, which would be an error instead of a clean end."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def ignore_stop_signals(*_: object) -> None:
    """Ignore all stop signals in this process, a worker.

    A signal for a whole process group (Ctrl-C, SLURM, systemd, timeout) reaches workers too. The process that started
    them decides when they end, after it has saved its work.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
