"""Find faults of files of weights without loading them: of torch.save, and of safetensors."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

ZIP, PICKLE = b"PK\x03\x04", b"\x80\x02"  # beginnings of what torch.save writes, today and before PyTorch 1.6
TORN = "the end of the file is missing"


def find_fault(path: Path, is_safetensors: bool) -> str:
    """Return why a file holds no weights, or not all of them; "" if it is whole, or an old file of torch.save."""
    return find_safetensors_fault(path) if is_safetensors else find_zip_fault(path)


def find_zip_fault(path: Path) -> str:
    """Return why a zip archive is not a whole file of torch.save; "" if it may be one, or is no archive."""
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            return ""
    try:
        with zipfile.ZipFile(path) as archive:
            is_checkpoint = any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return TORN
    return "" if is_checkpoint else "a zip archive, but not one of torch.save"


def find_safetensors_fault(path: Path) -> str:
    """Return why a file is not a whole file of safetensors: 8 bytes, a header in JSON of that length, the tensors."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, path.stat().st_size)))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
            size = 8 + length + max(ends, default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return "the header is damaged"
    return "" if path.stat().st_size == size else "the file is not as long as its header says"
