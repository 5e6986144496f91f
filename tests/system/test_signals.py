"""Signals that come twice, and the one of a terminal that has been closed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest

from src.system import signals
from src.system.signals import (
    Stopped,
    handle_stop_signals,
    hold_back_signals,
    leave_closed_terminal,
    signals_held_back,
)


def test_repetitions_within_a_second_are_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if they go on: who holds Ctrl-C is heard again after a second."""
    now = 100.0
    monkeypatch.setattr(signals.time, "monotonic", lambda: now)
    heard = []
    with handle_stop_signals(lambda number, frame: heard.append((number, now))):
        for moment in (100.0, 100.4, 100.8, 101.2, 101.6):
            now = moment
            signal.raise_signal(signal.SIGTERM)
    assert heard == [(signal.SIGTERM, 100.0), (signal.SIGTERM, 101.2)]


def test_output_to_a_closed_terminal_is_discarded() -> None:
    program = (
        "import os, signal\n"
        "from src.system.signals import handle_stop_signals\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n"
        "with handle_stop_signals():\n"
        "    os.write(1, b'ready')\n"
        "    signal.sigwait([signal.SIGHUP])\n"
        "    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGHUP)\n"
        "    finally:\n"
        "        print('the last line', flush=True)\n"
    )
    terminal, own = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=own, stdout=own, stderr=own, start_new_session=True
    )
    os.close(own)
    assert os.read(terminal, 5) == b"ready"
    os.close(terminal)
    os.kill(process.pid, signal.SIGHUP)  # without a controlling terminal, the kernel sends none
    assert process.wait(timeout=60) == 128 + signal.SIGHUP


def test_open_output_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    leave_closed_terminal()
    os.write(1, b"still here")
    assert capfd.readouterr().out == "still here"


def test_a_stop_raises_the_shells_exit_status() -> None:
    with pytest.raises(Stopped) as stopped, handle_stop_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code == 143


def test_the_handlers_before_are_set_again_and_ignored_signals_stay_ignored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with handle_stop_signals():
            assert signal.getsignal(signal.SIGTERM) is not before
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == before
    finally:
        signal.signal(signal.SIGHUP, ignored)


def test_a_signal_to_a_process_that_starts_is_held_back_until_it_has_handlers() -> None:
    """Here and in the next job of the same process; the process that started it goes on handling its own."""
    program = (
        "import signal\n"
        "from src.system.signals import Stopped, handle_stop_signals\n"
        "for job in range(2):\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    try:\n"
        "        with handle_stop_signals():\n"
        "            pass\n"
        "    except Stopped as stopped:\n"
        "        print(job, stopped.signal.name)\n"
    )
    with handle_stop_signals():
        hold_back_signals()
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        deadline = time.monotonic() + 10
        with pytest.raises(Stopped):  # noqa: PT012
            os.kill(os.getpid(), signal.SIGTERM)
            while time.monotonic() < deadline:
                os.sched_yield()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.STOP_SIGNALS)
    assert done.stdout.splitlines() == ["0 SIGTERM", "1 SIGTERM"]


def test_a_signal_while_processes_start_is_handled_afterwards() -> None:
    """Also where a thread of a library, which holds nothing back, receives it."""
    start, ended = threading.Event(), False
    thread = threading.Thread(target=lambda: start.wait() and signal.raise_signal(signal.SIGTERM))
    thread.start()
    with pytest.raises(Stopped), handle_stop_signals():  # noqa: PT012, SIM117
        with signals_held_back():
            start.set()
            thread.join()
            ended = True
    assert ended
