"""Signals that come twice, and the one of a terminal that has been closed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from src.system import signals
from src.system.signals import Stopped, handle_stop_signals, leave_closed_terminal


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
