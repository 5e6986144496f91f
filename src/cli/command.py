"""Build the commands, which signals can stop from the very start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from src.system.folder_lock import is_first_process
from src.system.signals import find_stop, handle_stop_signals

RESTARTABLE = ("predict", "prepare", "tune_crf")  # commands that keep finished work, or leave nothing behind


def command(name: str, entry_point: str) -> Callable[[], None]:
    """Return a command that composes conf/NAME.yaml with the command-line overrides and runs an entry point.

    The entry point is imported only after the config has been checked, so --help and typos are answered at once. Hydra
    is imported after the signal handlers are set, so Ctrl-C works from the start. User errors (config, data, values)
    and disk errors (full, read-only) are printed in one line on standard error, with exit status 2;
    HYDRA_FULL_ERROR=1 prints the traceback instead. In a multirun, a failed job does not stop the others; see
    src.cli.sweep.jobs.

    Args:
        name: name of the command, as in ``python -m src.NAME``.
        entry_point: "MODULE:FUNCTION"; the function takes the config.
    """

    def run() -> None:
        with handle_stop_signals(), explain_stop(name):
            from src.cli.run import run_command

            run_command(name, entry_point)

    return run


@contextmanager
def explain_stop(name: str) -> Iterator[None]:
    """Print which signal stopped the command, unless that has already been printed."""
    try:
        yield
    except BaseException as error:
        if (stop := find_stop(error)) is None:
            raise
        if not stop.is_explained and is_first_process():
            hint = "; run the same command again" if name in RESTARTABLE else ""
            with suppress(OSError):  # the terminal may have been closed
                print(f"stopped by {stop.signal.name}{hint}", file=sys.stderr)
        raise stop from None
