"""What a dataset is released as, and how that becomes the folders that its class reads."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from src.data.release.archive import extract
from src.data.release.download import fetch
from src.errors import UserError

log = logging.getLogger(__name__)


class Part(Protocol):
    """Something that a dataset is made of."""

    counts: Mapping[str, int]

    def prepare(self, root: Path, downloads: Path) -> None: ...


class Archive:
    """A part that is unpacked as it is.

    Args:
        name: of the file.
        page: where a person may get it.
        counts: what must be there once it is unpacked; see ``gaps``.
        urls: mirrors; none where a login is needed.
        checksum: such as "sha256:e14f..."; None where nobody has published one.
        inside: the folder of the archive that becomes ``root/folder``.
        folder: below the dataset's root.
        only: a pattern of the names to unpack.
        git_trees: git's hash of unpacked folders, where the release is a git repository.
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
        """Fetch and unpack."""
        path = fetch(self.name, self.urls, self.checksum, self.page, downloads)
        log.info("%s: %d files unpacked", path, extract(path, root / self.folder, self.inside, self.only))
        for name, expected in self.git_trees.items():
            if git_tree(root / self.folder / name) != expected:
                raise UserError(f"{root / self.folder / name}: not what {self.page} holds; delete it and {path}")


class Release:
    """All that makes a dataset.

    Args:
        parts: by a name of ours, in the order in which they are needed.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = parts

    def prepare(self, root: Path, downloads: Path) -> None:
        """Make ``root`` complete; what is there already is not done again.

        Raises:
            UserError: saying what is missing and what to do by hand.
        """
        for name, part in self.parts.items():
            if not gaps(root, part.counts):
                log.info("%s: already there", name)
                continue
            part.prepare(root, downloads)
            if missing := gaps(root, part.counts):
                raise UserError(f"{root} is not complete after {name}: {'; '.join(missing)}")
        for key, count in {key: count for part in self.parts.values() for key, count in part.counts.items()}.items():
            log.info("%s: %s", root / key, f"{count:,}")


def gaps(root: Path, counts: Mapping[str, int]) -> list[str]:
    """What of a layout is missing.

    Args:
        counts: names in a list ("train.txt": exactly so many) or files of a pattern ("images/*.jpg": at least so many).
    """
    missing = []
    for key, count in counts.items():
        if key.endswith(".txt"):
            there = len((root / key).read_text().split()) if (root / key).is_file() else 0
        else:
            there = sum(1 for _ in root.glob(key))
        if there < count or (key.endswith(".txt") and there > count):
            missing.append(f"{key}: {there:,} of {count:,}")
    return missing


def git_tree(folder: Path) -> str:
    """git's hash of a folder of plain files: of their names and contents."""
    entries = b""
    for path in sorted(folder.iterdir(), key=lambda path: path.name.encode()):
        content = path.read_bytes()
        entries += b"100644 %s\0" % path.name.encode() + sha1(b"blob %d\0" % len(content) + content)
    return sha1(b"tree %d\0" % len(entries) + entries).hex()


def sha1(content: bytes) -> bytes:
    return hashlib.sha1(content, usedforsecurity=False).digest()
