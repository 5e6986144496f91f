"""Lock a run's folder, so that only one process writes to it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.system.errors import UserError

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)


@contextmanager
def exclusive_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, so that no other run writes to it until this process ends.

    This is a POSIX lock: it is released when the process ends, even if it is killed. With flock, which filelock uses,
    data workers that outlive a killed run would hold the lock for seconds.

    Raises:
        UserError: if another process has locked the folder, or it is not writable.
    """
    if sys.platform == "win32" or not is_first_process():  # Windows has no POSIX locks
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+")
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; choose another folder") from error
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
    """Return the id of the other process on this machine that has locked a folder; None if there is none.

    Do not call it for a folder that this process has locked: that would release the lock.
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
    """Tell whether this is the first process (rank 0) of a training on all its nodes.

    torchrun sets RANK, LOCAL_RANK and GROUP_RANK, srun sets SLURM_PROCID. Where Lightning starts the processes, the
    user sets NODE_RANK, and Lightning LOCAL_RANK.
    """
    ranks = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in ranks)
