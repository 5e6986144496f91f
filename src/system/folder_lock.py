"""Give a run's folder to one process at a time."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.errors import UserError

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)


@contextmanager
def exclusive_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, so that no other run writes to it until this process ends.

    The lock is a POSIX lock, which ends with the process that took it, however it ends. A lock by flock, which filelock
    uses, would be held on by data workers that outlive a killed run for seconds.

    Raises:
        UserError: if another process has locked the folder, or it cannot be written to.
    """
    if sys.platform == "win32" or not is_first_process():  # there are no locks on Windows
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+")
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; choose another paths.log_dir") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            process = file.read().strip() or "unknown"
            raise UserError(
                f"{folder}: another run (process {process}) uses this folder; wait for it or choose another folder"
            ) from None
        except OSError as error:
            log.warning(
                "%s: the file system has no locks (%s); make sure that no other run writes to this folder",
                folder,
                error.strerror,
            )
        file.truncate(0)
        file.write(f"{os.getpid()} on {os.uname().nodename}\n")
        file.flush()
        yield


def process_using(folder: Path) -> int | None:
    """Return the number of the other process that has locked a folder; None if there is none on this machine.

    Not for a folder that this process has locked itself: that lock would end.
    """
    if sys.platform == "win32" or not (path := folder / ".lock").is_file():
        return None
    with path.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            process, _, machine = file.read().strip().partition(" on ")
            return int(process) if process.isdecimal() and machine == os.uname().nodename else None
    return None


def is_first_process() -> bool:
    """Tell whether this is the first of the processes that train together."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_PROCID"))
