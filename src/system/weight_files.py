"""Find faults of files of weights without loading them: of torch.save, and of safetensors."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path

ZIP, PICKLE = b"PK\x03\x04", b"\x80\x02"  # beginnings of what torch.save writes, today and before PyTorch 1.6
NOT_TORCH = ("it was not written by torch.save", "a zip archive, but not one of torch.save")


def find_fault(path: Path) -> str:
    """Return why a file is not a whole file of weights; "" if it is, or an old file of torch.save, which cannot tell.

    Checks the checksums of a zip archive, which ``torch.load`` does not, and the length of a file of safetensors.
    """
    with path.open("rb") as file:
        beginning = file.read(9)
    if beginning.startswith(ZIP):
        return find_zip_fault(path)
    if beginning.endswith(b"{") and len(beginning) == 9:
        return find_safetensors_fault(path)
    if not beginning:
        return "an empty file"
    return "" if beginning.startswith(PICKLE) else NOT_TORCH[0]


def find_zip_fault(path: Path) -> str:
    """Return why a zip archive is not a whole file of torch.save; "" if it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith("/data.pkl") for name in archive.namelist()):
                return NOT_TORCH[1]
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "the end of the file is missing"
    except (zlib.error, EOFError, RuntimeError) as error:  # damaged bits may ask for a password, or unknown compression
        return str(error)
    return f"the checksum of {damaged} is wrong" if damaged else ""


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
