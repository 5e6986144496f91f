"""Unpack tar and zip files safely: nothing outside the target folder, and no incomplete files."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from src.system.errors import UserError
from src.system.files import replacing
from src.system.progress import tracked


class Member(NamedTuple):
    """A regular file in an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


class UnsafeArchive(Exception):
    """Raised if an archive has a path that leads outside the target folder."""


def extract(archive: Path, target: Path, inside: str = "", only: str = "*") -> int:
    """Unpack the files below the folder ``inside`` of an archive into ``target``, and return their number.

    All names are checked before the first file is written. Files that already exist with the right size are skipped, so
    an interrupted call can be repeated. Links and devices are not unpacked.

    Args:
        archive: a tar or zip file.
        target: folder to unpack into; created if necessary.
        inside: folder within the archive.
        only: pattern of the names to unpack, relative to ``inside``.

    Returns:
        The number of files written.

    Raises:
        UserError: if the archive is damaged, would write outside the target, or does not fit on the disk.
    """
    prefix = PurePosixPath(inside)
    written = 0
    try:
        with open_archive(archive) as members:
            wanted = {
                str(PurePosixPath(member.name).relative_to(prefix)): member.size
                for member in members()
                if safe_path(member.name).is_relative_to(prefix)
            }
            wanted = {name: size for name, size in wanted.items() if fnmatch(name, only)}
            wanted = {name: size for name, size in wanted.items() if not has_size(target / name, size)}
            target.mkdir(parents=True, exist_ok=True)
            if sum(wanted.values()) > (free := shutil.disk_usage(target).free):
                raise UserError(
                    f"{target}: {sum(wanted.values()) / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
                )
            for member in tracked(members(), f"unpacking {archive.name}"):
                name = safe_path(member.name)
                if name.is_relative_to(prefix) and str(name.relative_to(prefix)) in wanted:
                    write_member(member, target / name.relative_to(prefix))
                    written += 1
    except UnsafeArchive as error:
        raise UserError(f"{archive}: {error}; nothing was unpacked, do not trust this file") from error
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{archive}: cannot be unpacked into {target} ({error})") from error
    except Exception as error:  # decompressors raise all kinds of errors on damaged data
        raise UserError(f"{archive}: damaged ({' '.join(str(error).split())}); delete it and run this again") from error
    return written


@contextmanager
def open_archive(archive: Path) -> Iterator[Callable[[], Iterator[Member]]]:
    """Open an archive and yield a function that iterates over its files."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield partial(zip_members, file)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield partial(tar_members, tar)
    else:
        raise ValueError("neither a tar nor a zip file")


def zip_members(file: zipfile.ZipFile) -> Iterator[Member]:
    """Yield the regular files of a zip file."""
    for info in file.infolist():
        if not info.is_dir() and (info.external_attr >> 28) in (0, 8):  # Unix's file type: unknown, or regular
            yield Member(info.filename, info.file_size, partial(file.open, info))


def tar_members(tar: tarfile.TarFile) -> Iterator[Member]:
    """Yield the regular files of a tar file."""
    for info in tar:
        safe_path(info.name)
        filtered = tarfile.data_filter(info, "/nowhere") if info.isreg() else None
        if filtered is not None:
            yield Member(info.name, info.size, partial(tar.extractfile, info))


def safe_path(name: str) -> PurePosixPath:
    """Return a member's name as a relative path.

    Raises:
        UnsafeArchive: if the path leads outside the target folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
        raise UnsafeArchive(f"holds the path {name!r}, which leaves the folder")
    return path


def has_size(path: Path, size: int) -> bool:
    """Tell whether a file exists and has this size in bytes."""
    return path.is_file() and path.stat().st_size == size


def write_member(member: Member, path: Path) -> None:
    """Write a member's content to a file atomically."""
    source = member.open()
    if source is None:
        return
    with source, replacing(path) as part, part.open("wb") as file:
        shutil.copyfileobj(source, file)
