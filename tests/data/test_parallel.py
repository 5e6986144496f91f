"""Work shared among processes."""

import re
import signal
import subprocess
import sys

import pytest

from src.data.parallel import WorkerLoader, over_cores
from src.system.signals import STOP_SIGNALS, handle_stop_signals, ignore_stop_signals
from tests.commands import REPO


def test_loader_workers_start_within_joblib_processes() -> None:
    """PyTorch's loader cannot start its workers with joblib's start method."""
    joblib = pytest.importorskip("joblib")
    squares = joblib.Parallel(n_jobs=2)(joblib.delayed(squares_over_cores)(count) for count in (3, 2))
    assert squares == [[0, 1, 4], [0, 1]]


def squares_over_cores(count: int) -> list[int]:
    return list(over_cores(square, count, "squares", workers=1))


def square(number: int) -> int:
    return number**2


def test_a_signal_to_a_worker_that_starts_does_not_end_it() -> None:
    """Ctrl-C reaches the whole group at any moment; a dead worker would end the training without a checkpoint."""

    def signal_before(worker: int) -> None:
        for number in STOP_SIGNALS:
            signal.raise_signal(number)
        ignore_stop_signals()

    with handle_stop_signals():
        loader = WorkerLoader(range(3), batch_size=None, num_workers=1, worker_init_fn=signal_before)
        assert list(loader) == [0, 1, 2]


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, timeout=60)


BROKEN_START = """
from multiprocessing import Barrier
from torch.utils.data import _utils
from src.data.parallel import WorkerLoader
from src.system.signals import ignore_stop_signals

workers_ignore_signals = Barrier(3, timeout=50)

def begin(worker):
    ignore_stop_signals()
    workers_ignore_signals.wait()

def fail(*_):  # as for lack of memory
    workers_ignore_signals.wait()
    raise RuntimeError("no memory")

_utils.signal_handling._set_worker_pids = fail
iter(WorkerLoader(range(3), batch_size=None, num_workers=2, worker_init_fn=begin))
"""


def test_an_error_while_workers_start_does_not_prevent_the_end() -> None:
    done = run_script(BROKEN_START)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("no memory")


DEATH_IN_A_DESTRUCTOR = """
import os, signal
from src.data.parallel import WorkerLoader

class Last:
    def __del__(self):
        os.kill(worker.pid, signal.SIGKILL)
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # the signal has arrived
        print("the worker is dead")

batches = iter(WorkerLoader(range(99), batch_size=None, num_workers=1, timeout=0.5))
(worker,) = batches._workers
last = Last()
del last
list(batches)
"""


def test_a_worker_that_dies_is_noticed_where_its_data_is_awaited() -> None:
    """Python would print the error of a signal handler that is called in a destructor, and go on without it."""
    done = run_script(DEATH_IN_A_DESTRUCTOR)
    assert done.stdout == "the worker is dead\n"
    assert "Exception ignored" not in done.stderr
    assert re.search(r"RuntimeError: DataLoader worker \(pid\(s\) \d+\) exited unexpectedly\n$", done.stderr), (
        done.stderr
    )
