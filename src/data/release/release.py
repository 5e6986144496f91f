"""Releases of data sets: archives, and how they are unpacked into the folders that data sets read."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from src.system.archives import extract
from src.system.counted import counted
from src.system.download import fetch
from src.system.errors import UserError

log = logging.getLogger(__name__)


class Part(Protocol):
    """A part of a release."""

    counts: Mapping[str, int]  # number of files by pattern; see ``gaps``

    def prepare(self, root: Path, downloads: Path) -> None:
        """Fetch the part and put its files below ``root``."""


class Archive:
    """An archive whose files are used as unpacked.

    Args:
        name: name of the file.
        page: web page where the user finds the file.
        counts: the files that must exist after unpacking; see ``gaps``.
        urls: mirrors of the file; none if a login is needed.
        checksum: the published checksum, such as "sha256:e14f...", or None.
        inside: the folder within the archive that becomes ``root/folder``.
        folder: the folder below the data set's root.
        only: pattern of the names to unpack.
        git_trees: git's hashes of unpacked folders, if the release is a git repository.
    """

    def __init__(
        self,
        name: str,
        page: str,
        counts: Mapping[str, int],
        urls: Sequence[str] = (),
        checksum: str | None = None,
        inside: str = "",
        folder: str = "",
        only: str = "*",
        git_trees: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.page, self.urls, self.checksum = name, page, urls, checksum
        self.counts, self.git_trees = counts, git_trees or {}
        self.inside, self.folder, self.only = inside, folder, only

    def prepare(self, root: Path, downloads: Path) -> None:
        """Fetch the archive, unpack it, and check git's hashes.

        Raises:
            UserError: if it cannot be fetched or unpacked, or a hash differs.
        """
        path = fetch(self.name, self.urls, self.checksum, self.page, downloads)
        files = extract(path, root / self.folder, self.inside, self.only)
        log.info("%s: %s unpacked", path, counted(files, "file"))
        for name, expected in self.git_trees.items():
            if git_tree(root / self.folder / name) != expected:
                raise UserError(f"{root / self.folder / name}: differs from {self.page}; delete it and {path}")


class Release:
    """The release of a data set.

    Args:
        parts: the parts by name, in the order in which they are needed.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = parts

    def prepare(self, root: Path, downloads: Path) -> None:
        """Fetch and unpack all parts that are not complete below ``root``.

        Raises:
            UserError: with what is missing, and what to do by hand.
        """
        for name, part in self.parts.items():
            if not gaps(root, part.counts):
                log.info("%s: already complete", name)
                continue
            part.prepare(root, downloads)
            if missing := gaps(root, part.counts):
                raise UserError(f"{root} is not complete after {name}: {'; '.join(missing)}")
        for key, count in {key: count for part in self.parts.values() for key, count in part.counts.items()}.items():
            log.info("%s: %s", root / key, f"{count:,}")


def gaps(root: Path, counts: Mapping[str, int]) -> list[str]:
    """Return a line for each pattern of files that is incomplete below ``root``.

    Args:
        root: folder of the data set.
        counts: for a list file ("train.txt"), the exact number of names; for a pattern ("images/*.jpg"), the minimum
            number of files.
    """
    missing = []
    for key, count in counts.items():
        if key.endswith(".txt"):
            found = len((root / key).read_text().split()) if (root / key).is_file() else 0
        else:
            found = sum(1 for _ in root.glob(key))
        if found < count or (key.endswith(".txt") and found > count):
            missing.append(f"{key}: {found:,} of {count:,}")
    return missing


def git_tree(folder: Path) -> str:
    """Return git's hash of a folder that holds only files."""
    entries = b""
    for path in sorted(folder.iterdir(), key=lambda path: path.name.encode()):
        content = path.read_bytes()
        entries += b"100644 %s\0" % path.name.encode() + sha1(b"blob %d\0" % len(content) + content)
    return sha1(b"tree %d\0" % len(entries) + entries).hex()


def sha1(content: bytes) -> bytes:
    """Return the SHA-1 of bytes."""
    return hashlib.sha1(content, usedforsecurity=False).digest()
