"""Write files atomically; read JSON that may be damaged; expand ~ and environment variables in paths."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any


@contextmanager
def replacing(path: Path, *, shared: bool = False, durable: bool = False, keep: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; after the block, the file written there replaces ``path``.

    Readers of ``path`` see either the complete new file or the old one. If the block fails, the temporary file is
    removed, ``path`` is unchanged, and the error propagates. Missing folders are created.

    Args:
        path: the file to write.
        shared: whether other processes, even on other machines, may write the same file at the same time. The temporary
            name is then random; otherwise it is fixed, so leftovers of a killed process are overwritten.
        durable: flush to disk, so that the file survives a power cut; this takes milliseconds.
        keep: path to move the old file to before it is replaced; None to discard it.
    """
    part = path.with_name(f".{path.name}.{token_hex(4)}.part" if shared else f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        if durable:
            flush(part)
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(part, path)
        if durable:
            flush_folder(path.parent)
    except OSError as error:
        if error.filename == str(part):
            error.filename = str(path)  # so that messages show the file that the user knows
        raise
    finally:
        with suppress(OSError):  # the disk may be read-only by now
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, shared: bool = False) -> None:
    """Write a text file, whole or not at all, in UTF-8; see ``replacing`` for ``shared``."""
    with replacing(path, shared=shared) as part:
        part.write_text(text, encoding="utf-8")


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, and flush it to the disk; a line that a kill has cut short is ended first."""
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
            file.write(b"\n")
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if the file is missing, damaged or something else."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects in the lines of a file that ``append_line`` has written, without what a kill has cut short."""
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def flush(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the renames in a folder are on the disk; does nothing on Windows, which cannot open folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def expand_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with ~, ~USER, $NAME and ${NAME} expanded as in a shell; unknown names are kept."""
    return Path(os.path.expandvars(os.path.expanduser(path)))
