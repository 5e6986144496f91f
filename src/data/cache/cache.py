"""A cache of decoded samples in one memory-mapped file.

One process builds the file while the others wait for its lock. The file contains a digest of the paths, sizes and
modification times of the source files; a stale or damaged file is rebuilt.
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
    """Reads samples from a complete cache file; every process maps the file itself.

    Args:
        path: path of the file.
        index: (offset, height, width, CRC-32 of the bytes) of each sample.
    """

    def __init__(self, path: Path, index: Int64[np.ndarray, "samples 4"]) -> None:
        self.path = path
        self.index = index
        self.checked = np.zeros(len(index), bool)
        self.memory: np.memmap | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "memory": None}  # pickling the map would copy the file

    def get(self, index: int) -> Arrays | None:
        """Return image and label, both read-only; log a warning and return None if their bytes are damaged."""
        if self.memory is None:
            self.memory = np.memmap(self.path, mode="r")
        offset, height, width, crc = self.index[index].tolist()
        pixels = height * width
        packed = self.memory[offset : offset + 4 * pixels]
        if not self.checked[index]:  # once per process, because a check takes as long as copying the sample
            if zlib.crc32(packed.data) != crc:
                log.warning(
                    "%s: sample %d is damaged, so its files are read instead; delete the cache", self.path, index
                )
                return None
            self.checked[index] = True
        return packed[: 3 * pixels].reshape(height, width, 3), packed[3 * pixels :].reshape(height, width)


def open_cache(
    folder: Path, dataset: SegmentationDataset, files: Sequence[Path], settings: bytes, workers: int
) -> PackedCache:
    """Return the data set's cache in a folder; build it first if it is missing, stale or damaged.

    Args:
        folder: folder of the cache file; created if necessary.
        dataset: the data set to cache.
        files: the files that the samples are read from.
        settings: everything else that affects the samples.
        workers: number of processes to build the file with.

    Raises:
        DatasetError: if a sample is bad, or the file cannot be written.
    """
    name = hashlib.sha256(b"\n".join(map(os.fsencode, files))).hexdigest()[:12]
    path = folder / f"{type(dataset).__name__.lower()}-{name}.pack"
    digest = digest_of(files, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path):
            if path.exists():
                try:
                    return PackedCache(path, read_index(path, digest))
                except ValueError as error:
                    log.warning("%s: %s; rebuilding it", path, error)
            write_pack(path, dataset, digest, workers)
            return PackedCache(path, read_index(path, digest))
    except OSError as error:
        raise DatasetError(f"cache={folder}: {error.strerror}; choose another folder, or null") from error


def digest_of(files: Sequence[Path], settings: bytes) -> bytes:
    """Return a digest of the settings and every file's path, size and modification time."""
    digest = hashlib.sha256(settings)
    for path in files:
        status = path.stat()
        digest.update(os.fsencode(path) + f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.digest()
