"""Run commands as users do, in processes forked from one that has imported everything, which saves seconds each.

Each command has its own process, arguments, environment and exit status. The shape checks of the tests are not active
in it, as for users.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from src.system.signals import STOP_SIGNALS

REPO = Path(__file__).parents[1]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.preloaded"])


def set_default_signals() -> None:
    """Set the default handlers of signals that are ignored, as under nohup or in a script's background.

    Commands would inherit that they are ignored.
    """
    for number in STOP_SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


class Command:
    """``python -m src.NAME ARGUMENTS`` or ``python -c PROGRAM``, running.

    Args:
        arguments: name and overrides; or "-c" and a program.
        output: file to which standard output is appended.
        errors: file for standard error; by default the same.
        folder: the working directory.
        environment: variables besides those of the tests.
        before: called in the process first.
    """

    def __init__(
        self,
        *arguments: str,
        output: Path,
        errors: Path | None = None,
        folder: Path = REPO,
        environment: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        variables = {**os.environ, **(environment or {})}
        self.output = output
        files = (output, errors or output)
        self.process = FORKS.Process(target=perform, args=(arguments, files, folder, variables, before))
        self.process.start()

    def wait(self, timeout: float = 900) -> int:
        """Return the exit status, as ``subprocess`` has it.

        Raises:
            TimeoutError: if the command hangs; it is killed.
        """
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"still running after {timeout} s\n{self.output.read_text()}")
        return self.process.exitcode


def perform(
    arguments: Sequence[str],
    files: tuple[Path, Path],
    folder: Path,
    variables: dict[str, str],
    before: Callable[[], None] | None,
) -> None:
    """Run a command in this process, with what Python does at its exit."""
    os.setpgid(0, 0)  # a process group of its own, as a shell gives it: a test may send it a signal
    for descriptor, file in enumerate(files, start=1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    multiprocessing.set_start_method(None, force=True)  # type: ignore[arg-type]  # the default again
    if before:
        before()
    try:
        if arguments[0] == "-c":
            exec(arguments[1], {"__name__": "__main__"})
        else:
            sys.argv = [f"src.{arguments[0]}", *arguments[1:]]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which processes of multiprocessing leave out


def run_command(
    *arguments: str,
    folder: Path = REPO,
    environment: dict[str, str] | None = None,
    before: Callable[[], None] | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run a ``Command`` to its end; return its exit status and what it printed."""
    with TemporaryDirectory() as place:
        output, errors = Path(place, "output"), Path(place, "errors")
        command = Command(
            *arguments, output=output, errors=errors, folder=folder, environment=environment, before=before
        )
        status = command.wait(timeout)
        return subprocess.CompletedProcess(arguments, status, output.read_text(), errors.read_text())
