"""Write files whole or not at all; expand what a shell would expand in paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex


@contextmanager
def replacing(path: Path, *, shared: bool = False, durable: bool = False, keep: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; after the block the file there takes the place of ``path``.

    Whoever opens ``path`` finds the whole file, or the one that stood there before. Where the block or the writing
    fails, the temporary file is removed, ``path`` stays as it was, and the error passes through. A folder that is
    missing is made.

    Args:
        path: the file to write.
        shared: other processes, of this machine or of others, may write the same file at this time: the temporary name
            is random. Otherwise it is always the same, so that what a killed process has left is overwritten.
        durable: flush to the disk, so that the file outlives a power cut; this takes milliseconds.
        keep: where the file that stood at ``path`` is moved to, just before; None replaces it.
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
            error.filename = str(path)  # messages name the file that the user knows
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


def flush(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the renames in a folder are on the disk, where the system can open folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def expand_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with ~, ~USER, $NAME and ${NAME} replaced as a shell replaces them; unknown names stay."""
    return Path(os.path.expandvars(os.path.expanduser(path)))
