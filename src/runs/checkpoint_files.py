"""A run's checkpoint files: the previous version of each is kept beside it, and replaces it if it is damaged."""

from __future__ import annotations

import logging
import zipfile
import zlib
from pathlib import Path

from src.errors import UserError

log = logging.getLogger(__name__)


def previous_path(path: Path) -> Path:
    """Return the path of the previous version of a checkpoint."""
    return path.with_name(f"{path.name}.previous")


def newest_intact(path: str | Path) -> Path:
    """Return ``path``, or the path of its previous version if it is damaged or missing, which is logged.

    Raises:
        UserError: if neither can be read.
    """
    path = Path(path)
    if fault := find_fault(path):
        older = previous_path(path)
        if find_fault(older):
            raise UserError(f"ckpt={path}: {fault}, and its previous version is not intact either")
        log.warning("%s: %s; using the previous version, %s", path, fault, older)
        return older
    return path


def find_fault(path: Path) -> str:
    """Return why a file is not an intact checkpoint; empty if it is intact.

    A checkpoint is a zip archive, whose checksums ``torch.load`` does not check.
    """
    if not path.is_file():
        return "no such file"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        return f"damaged, or not a checkpoint ({error})"
    return f"damaged in {damaged}" if damaged else ""
