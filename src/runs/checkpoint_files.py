"""Checkpoint files: what ckpt stands for; a run's previous version of each, which replaces it if it is damaged."""

from __future__ import annotations

import logging
import zipfile
import zlib
from pathlib import Path

from src.runs.networks import find_network
from src.system.addresses import HUB_FILE, fetch_address, is_address
from src.system.errors import UserError
from src.system.files import expand_path

log = logging.getLogger(__name__)


def find_checkpoint(given: str | Path) -> Path:
    """Return the file that a value of ckpt stands for; it need not exist.

    Args:
        given: the path of a file, or of a folder that export format=hub wrote; an address, from which the file is
            fetched; or the name of a network that comes with the package.

    Raises:
        UserError: if an address gives no checkpoint.
    """
    if is_address(given):
        return fetch_address(str(given))
    path = find_network(given) or expand_path(given)
    return path / HUB_FILE if (path / HUB_FILE).is_file() else path


def why_no_file(path: str | Path) -> str:
    """Return why a path is not that of a checkpoint: a folder without one, or nothing."""
    return f"a folder that holds no {HUB_FILE}" if Path(path).is_dir() else "no such file"


def previous_path(path: Path) -> Path:
    """Return the path of the previous version of a checkpoint."""
    return Path(f"{path}.previous")


def newest_intact(path: str | Path) -> Path:
    """Return ``path``, or log a warning and return its previous version if it is damaged or missing.

    Raises:
        UserError: if neither can be read.
    """
    path = Path(path)
    if fault := find_fault(path):
        previous = previous_path(path)
        if find_fault(previous):
            raise UserError(f"ckpt={path}: {fault}, and its previous version is not intact either")
        log.warning("%s: %s; using the previous version, %s", path, fault, previous)
        return previous
    return path


def find_fault(path: Path) -> str:
    """Return why a file is not an intact checkpoint; "" if it is.

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


def refuse_to_overwrite(folder: Path, checkpoint: str | None) -> None:
    """Check that a run does not overwrite the checkpoints of another run.

    Two runs may get the same folder name if the clock is set back.

    Args:
        folder: checkpoint folder of the new run.
        checkpoint: the checkpoint to resume from, if any.

    Raises:
        UserError: if ``folder`` holds checkpoints, and ``checkpoint`` is not one of them.
    """
    last = folder / "last.ckpt"
    resumes_here = checkpoint is not None and Path(checkpoint).parent.resolve() == folder.resolve()
    if not resumes_here and (last.is_file() or previous_path(last).is_file()):
        raise UserError(
            f"{folder.parent} already holds a training run: resume it with ckpt={last}, or choose another folder"
        )
