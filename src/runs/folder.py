"""A run's folder belongs to one process at a time."""

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
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder for as long as this process lives.

    The lock is one of POSIX, which ends with the process that took it, however that ends. With flock, filelock's, data
    workers that outlive a killed run by seconds would go on holding it.

    Raises:
        UserError: if another process is at work there, or nothing can be written.
    """
    if sys.platform == "win32" or not is_first_process():  # on Windows no run is kept out
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
                f"{folder}: another run (process {process}) is at work there; wait for it or choose another folder"
            ) from None
        except OSError as error:
            log.warning("%s: no locks on this file system (%s); let no other run write there", folder, error.strerror)
        file.truncate(0)
        file.write(f"{os.getpid()} on {os.uname().nodename}\n")
        file.flush()
        yield


def is_first_process() -> bool:
    """Of those that train together."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_PROCID"))
