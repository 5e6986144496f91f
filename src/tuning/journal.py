"""Keep the counts of a search on disk, so that the same search can be resumed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from filelock import FileLock

from src.system.files import append_line, read_json_lines
from src.tuning.search import Confusion, ScoredImage


def digest_images(images: Sequence[ScoredImage]) -> str:
    """Return a digest of the pixels and labels of images."""
    digest = hashlib.sha256()
    for image in images:
        for tensor in (image.image, image.label):
            digest.update(f"{tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


class Journal:
    """Confusion matrices on disk, one line of JSON each, written as soon as they are counted.

    A search that is killed loses only the configuration it was counting, and resumes after the last line.

    Args:
        path: file of the journal; created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, tuple[Confusion, float]] = {}
        self.read()

    def read(self) -> None:
        """Take the entries of the file, which other processes may have written too."""
        for entry in read_json_lines(self.path):
            self.entries[json.dumps(entry["key"])] = torch.tensor(entry["confusion"]), entry["seconds"]

    def get_or_count(self, key: Mapping[str, object], count: Callable[[], Confusion]) -> tuple[Confusion, float]:
        """Return the result of ``count`` and its time in seconds, from the file if it has an entry with this key."""
        name = json.dumps(dict(key))
        if name not in self.entries:
            self.read()
        if name not in self.entries:
            start = time.perf_counter()
            confusion = count()
            self.entries[name] = confusion, round(time.perf_counter() - start, 3)
            self.append({"key": key, "confusion": confusion.tolist(), "seconds": self.entries[name][1]})
        return self.entries[name]

    def append(self, entry: Mapping[str, object]) -> None:
        """Add an entry to the file, and flush it to the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            append_line(self.path, json.dumps(entry))
