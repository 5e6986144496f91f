"""Decoded samples in one memory-mapped file, for epochs after the first.

A lock makes all processes but one wait while the file is built. What it was made from (paths, sizes and times of change
of the source files) is part of it: a file that is stale or damaged is built again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from src.data.cache.pack import read_index, write_pack
from src.data.dataset import DatasetError, Picture, SegmentationDataset
from src.labels import LabelMap
from src.system.processes import one_at_a_time

log = logging.getLogger(__name__)

Arrays = tuple[Picture, LabelMap]


class PackedCache:
    """Samples of a finished file; every process maps it by itself.

    Args:
        path: of the file.
        index: a row for each sample: offset, height, width, CRC-32 of its bytes.
    """

    def __init__(self, path: Path, index: Int64[np.ndarray, "samples 4"]) -> None:
        self.path = path
        self.index = index
        self.checked = np.zeros(len(index), bool)
        self.memory: np.memmap | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "memory": None}  # a pickled map would be a copy of the file

    def get(self, index: int) -> Arrays | None:
        """Image and label, read-only; None (and a warning) if their bytes are not what was written."""
        if self.memory is None:
            self.memory = np.memmap(self.path, mode="r")
        offset, height, width, crc = self.index[index].tolist()
        pixels = height * width
        packed = self.memory[offset : offset + 4 * pixels]
        if not self.checked[index]:  # once a process: it costs as much as copying the sample
            if zlib.crc32(packed.data) != crc:
                log.warning("%s: sample %d is damaged and read from its files; delete the cache", self.path, index)
                return None
            self.checked[index] = True
        return packed[: 3 * pixels].reshape(height, width, 3), packed[3 * pixels :].reshape(height, width)


def open_cache(
    folder: Path, dataset: SegmentationDataset, files: Sequence[Path], settings: bytes, workers: int
) -> PackedCache:
    """The dataset's cache in a folder, built first where there is none, or one that no longer fits.

    Args:
        files: that the samples are made from.
        settings: that they depend on besides.

    Raises:
        DatasetError: if a sample is bad, or the folder cannot take the file.
    """
    name = hashlib.sha256(b"\n".join(map(os.fsencode, files))).hexdigest()[:12]
    path = folder / f"{type(dataset).__name__.lower()}-{name}.pack"
    fingerprint = fingerprint_of(files, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path):
            if path.exists():
                try:
                    return PackedCache(path, read_index(path, fingerprint))
                except ValueError as error:
                    log.warning("%s: %s; building it again", path, error)
            write_pack(path, dataset, fingerprint, workers)
            return PackedCache(path, read_index(path, fingerprint))
    except OSError as error:
        raise DatasetError(f"cache={folder}: {error.strerror}; name another folder, or None (null)") from error


def fingerprint_of(files: Sequence[Path], settings: bytes) -> bytes:
    """Changes when a source file does."""
    digest = hashlib.sha256(settings)
    for path in files:
        status = path.stat()
        digest.update(os.fsencode(path) + f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.digest()
