"""The file format of packed samples: the bytes of each sample (image, then label), an index, and a trailer."""

from __future__ import annotations

import logging
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Int64

from src.data.dataset import DatasetError, Sample, SegmentationDataset
from src.data.parallel import over_cores
from src.system.counted import counted
from src.system.files import replacing

log = logging.getLogger(__name__)

TRAILER = struct.Struct("<QI32s8s")  # samples, CRC-32 of the index, digest of the sources, format
FORMAT = b"deeplab2"  # 2: EXIF orientation, transparency and grey bit depths are respected
COLUMNS = 4  # of the index: offset, height, width, CRC-32


def read_index(path: Path, digest: bytes) -> Int64[np.ndarray, "samples 4"]:
    """Return the index of a file.

    Raises:
        ValueError: if the file is damaged, or its digest differs from ``digest``.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < TRAILER.size:
            raise ValueError("truncated")
        file.seek(size - TRAILER.size)
        samples, crc, sources, format_ = TRAILER.unpack(file.read())
        start = size - TRAILER.size - samples * COLUMNS * 8
        if format_ != FORMAT or start < 0:
            raise ValueError("truncated, or written by another version")
        file.seek(start)
        raw = file.read(samples * COLUMNS * 8)
    if zlib.crc32(raw) != crc:
        raise ValueError("damaged")
    if sources != digest:
        raise ValueError("stale: the files have changed")
    return np.frombuffer(raw, "<i8").reshape(samples, COLUMNS)


def write_pack(path: Path, dataset: SegmentationDataset, digest: bytes, workers: int) -> None:
    """Decode all samples and write them to a new file.

    Raises:
        DatasetError: with every bad sample, or if the disk has too little space.
    """
    rows: list[tuple[int, int, int, int]] = []
    faults: list[str] = []
    with replacing(path, durable=True) as part, part.open("wb") as file:
        for sample, sample_faults in over_cores(dataset.inspect, len(dataset), f"packing {path.name}", workers):
            faults += sample_faults
            if sample is None or faults:
                continue
            if not rows:
                require_space(path.parent, len(dataset) * 4 * sample.label.size)
            rows.append(append(file, sample))
        if faults:
            raise DatasetError("\n".join(faults))
        index = np.array(rows, "<i8").reshape(-1, COLUMNS).tobytes()
        file.write(index + TRAILER.pack(len(rows), zlib.crc32(index), digest, FORMAT))
    log.info("%s: %s, %.1f GB", path, counted(len(rows), "sample"), path.stat().st_size / 1e9)


def append(file: IO[bytes], sample: Sample) -> tuple[int, int, int, int]:
    """Append a sample to the file and return its index row."""
    packed = sample.image.tobytes() + sample.label.tobytes()
    offset = file.tell()
    file.write(packed)
    return offset, *sample.label.shape, zlib.crc32(packed)


def require_space(folder: Path, size: int) -> None:
    """Raise ``DatasetError`` unless a folder's disk has ``size`` bytes of free space."""
    if (free := shutil.disk_usage(folder).free) < size:
        raise DatasetError(
            f"cache={folder}: about {size / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; "
            "choose another folder, or null"
        )
