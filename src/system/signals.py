"""Stop on a signal: exit cleanly, with the status that shells expect."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

# Ctrl-C; kill, SLURM and systemd; a closed terminal; SLURM's --signal=USR1 before the time limit
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)

CAN_HOLD_BACK = hasattr(signal, "pthread_sigmask")  # not on Windows
REPEAT_SECONDS = 1.0  # a signal repeated within this time is the same request

# Handler calls that wait for the end of signals_held_back; None outside of it. A mask alone would hold back signals to
# this process only if all threads had it, including those of libraries.
held_back: list[Callable[[], None]] | None = None

Handler = Callable[[int, FrameType | None], Any]


class Stopped(SystemExit):
    """Raised when a signal asks this process to stop; the exit status is 128 + the signal's number.

    Attributes:
        signal: the signal.
        is_explained: whether the user has been told how to continue.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)
        self.is_explained = False

    def __reduce__(self) -> tuple[type[Stopped], tuple[int]]:
        return Stopped, (self.signal,)  # joblib sends it from process to process


def find_stop(error: BaseException | None) -> Stopped | None:
    """Return the ``Stopped`` that caused an error, for libraries that replace exceptions; None if there is none."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal: raise ``Stopped``."""
    raise Stopped(number)


@contextmanager
def handle_stop_signals(handler: Handler = stop) -> Iterator[None]:
    """Handle all stop signals in the block, including those held back before; then restore the previous handlers."""
    previous = current_handlers()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if CAN_HOLD_BACK else ()
    try:
        set_stop_handlers(handler)
        yield
    finally:
        if CAN_HOLD_BACK:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler_before in previous.items():
            signal.signal(number, handler_before)


def set_stop_handlers(handler: Handler) -> None:
    """Set the handler of all stop signals. Signals that the process ignores, as under nohup, stay ignored.

    timeout(1) and SLURM signal a process and then its group, so a signal may arrive twice: repetitions within a second
    are ignored. Signals that were held back (``hold_back_signals``) are handled now.
    """
    received = float("-inf")

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if held_back is not None:
            held_back.append(lambda: handle(number, frame))
            return
        if (now := time.monotonic()) - received < REPEAT_SECONDS:
            return
        received = now
        if signal.Signals(number).name == "SIGHUP":  # which Windows lacks
            leave_closed_terminal()
        handler(number, frame)

    for number in current_handlers():
        signal.signal(number, handle)
    if CAN_HOLD_BACK:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def current_handlers() -> dict[int, Handler | int]:
    """Return the handlers of all stop signals that are not ignored; empty outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    # None: a C handler, which Python could not restore
    return {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}


def hold_back_signals() -> None:
    """Hold back stop signals in processes that this thread starts from now on, until they set their handlers.

    Without handlers, a signal to the process group would kill one of them, and a process pool then kills all others.
    This process still handles its signals: a separate thread receives them, and Python calls the handlers in the main
    thread when it next waits or sleeps.
    """
    if CAN_HOLD_BACK:
        threading.Thread(target=threading.Event().wait, name="signals", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold back stop signals in the block, and in processes started in it until they handle or ignore them.

    If a handler raises during a fork, Python only prints the exception and continues.
    """
    global held_back
    held_back = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS) if CAN_HOLD_BACK else ()
    try:
        yield
    finally:
        arrived, held_back = held_back, None
        if CAN_HOLD_BACK:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for handle in arrived:
            handle()


def leave_closed_terminal() -> None:
    """Discard further output to a closed terminal, because writing to it would raise an error."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def ignore_stop_signals(*_: object) -> None:
    """Ignore all stop signals in a worker process.

    A signal to the process group (Ctrl-C, SLURM, systemd, timeout) also reaches the workers. The process that started
    them ends them after it has saved its work.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
