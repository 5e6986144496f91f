"""What a search has counted, on disk: the same search goes on from it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from src.tuning.search import Confusion, ScoredImage


def digest_of(images: Sequence[ScoredImage]) -> str:
    """Of their pixels and labels."""
    found = hashlib.sha256()
    for one in images:
        for tensor in (one.image, one.label):
            found.update(f"{tuple(tensor.shape)}".encode())
            found.update(tensor.numpy().tobytes())
    return found.hexdigest()[:16]


class Journal:
    """Confusion matrices on disk, a line of JSON each, written as soon as they are there: a search that is killed loses
    the one it was at, and the next one goes on from there.

    Args:
        path: of the file; made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, tuple[Confusion, float]] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the line that a kill cut off
                continue
            self.entries[json.dumps(entry["key"])] = torch.tensor(entry["confusion"]), entry["seconds"]

    def once(self, key: Mapping[str, object], count: Callable[[], Confusion]) -> tuple[Confusion, float]:
        """What ``count`` gives and the seconds it took; from the file where a line has this key."""
        name = json.dumps(dict(key))
        if name not in self.entries:
            start = time.perf_counter()
            confusion = count()
            self.entries[name] = confusion, round(time.perf_counter() - start, 3)
            self.append({"key": key, "confusion": confusion.tolist(), "seconds": self.entries[name][1]})
        return self.entries[name]

    def append(self, entry: Mapping[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
                file.write(b"\n")  # after a line that was cut off
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
