"""A run's checkpoint files: the one before is kept beside each, and stands in where that is damaged."""

from __future__ import annotations

import logging
import zipfile
import zlib
from pathlib import Path

from src.errors import UserError

log = logging.getLogger(__name__)


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at ``path`` is kept."""
    return path.with_name(f"{path.name}.previous")


def newest_intact(path: str | Path) -> Path:
    """``path``, or the one before it where that is torn or was lost between two renames; says so.

    Raises:
        UserError: if neither can be read.
    """
    path = Path(path)
    if fault := fault_of(path):
        older = previous(path)
        if fault_of(older):
            raise UserError(f"ckpt={path}: {fault}, and there is no intact checkpoint before it")
        log.warning("%s: %s; going on with the one before it, %s", path, fault, older)
        return older
    return path


def fault_of(path: Path) -> str:
    """Why a file is no intact checkpoint, or nothing: it is a zip archive, whose checksums torch.load skips."""
    if not path.is_file():
        return "no such file"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        return f"torn or no checkpoint ({error})"
    return f"damaged in {damaged}" if damaged else ""
