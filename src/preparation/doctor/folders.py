"""The folders that commands write to: whether they can be written, and the room that is left."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from src.preparation.doctor.finding import Finding, in_bytes
from src.system.torch_home import hub_folder

LEAST_FREE = 1 << 30
BLOCK = bytes(1 << 16)


def examine(log_dir: str, data_dir: str) -> list[Finding]:
    """Return the findings about each folder.

    Args:
        log_dir: ``paths.log_dir``, the folder of the runs.
        data_dir: ``paths.data_dir``, the folder of the data sets.
    """
    try:
        working = Finding("working folder", os.getcwd())
    except FileNotFoundError:
        return [Finding("working folder", "was deleted, so no folder is examined", "cd to another folder")]
    return [
        working,
        examine_folder("logs", log_dir, "set paths.log_dir=FOLDER"),
        examine_folder("data", data_dir, "set paths.data_dir=FOLDER, or DEEPLAB_DATA", read_only=True),
        examine_folder("PyTorch's cache", str(hub_folder()), "set TORCH_HOME=FOLDER"),
        examine_folder("temporary files", temporary_folder(), "set TMPDIR=FOLDER"),
    ]


def temporary_folder() -> str:
    """Return the folder of temporary files, or the one that is asked for if none can be written."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.environ.get("TMPDIR") or "/tmp"


def examine_folder(name: str, given: str, elsewhere: str, read_only: bool = False) -> Finding:
    """Return whether a folder can be made and written to, and how much room is left.

    Args:
        name: what the folder is for.
        given: its path; it need not exist.
        elsewhere: how to choose another folder.
        read_only: whether a folder that exists is of use if nothing can be written to it.
    """
    folder = Path(os.path.expandvars(os.path.expanduser(given)))
    if str(folder).startswith("~"):
        return Finding(name, f"{given}: there is no home folder", f"set HOME, or {elsewhere}")
    try:
        place = innermost(folder)
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding(name, f"{given}: {error.strerror}", elsewhere)
    exists = "" if place == folder else ", does not exist yet"
    if fault := try_to_write(place):
        if read_only and not exists:
            return Finding(name, f"{given}: can be read, not written to ({fault})")
        return Finding(name, f"{given}: cannot be written to ({fault}){exists}", f"make room, or {elsewhere}")
    room = f"{given}{exists}, {in_bytes(free)} free"
    return Finding(name, room, f"make room, or {elsewhere}" if free < LEAST_FREE else "")


def innermost(folder: Path) -> Path:
    """Return the innermost folder of a path that exists.

    Raises:
        OSError: if the path leads through a file, or nowhere.
    """
    while True:
        try:
            os.stat(folder)
        except FileNotFoundError:
            if folder.is_symlink() or folder == folder.parent:
                raise
            folder = folder.parent
        else:
            return folder


def try_to_write(folder: Path) -> str:
    """Return why no file can be written in a folder; "" if one could. Nothing is left there."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(BLOCK)
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
