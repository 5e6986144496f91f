"""Checkpoint files that survive a crash: written whole or not at all, the one before kept beside."""

from __future__ import annotations

import logging
import os
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from src.errors import UserError

log = logging.getLogger(__name__)

RUNS = "runs.txt"  # in paths.log_dir: the folders of trainings, in the order of their beginning


class SafeCheckpointIO(TorchCheckpointIO):
    """Lightning's place for how checkpoints are written and read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write to a file beside ``path``, flush it to the disk, rename; what stood there becomes PATH.previous.

        Raises:
            UserError: if it cannot be written; what stood at ``path`` is still there.
        """
        path = Path(path)
        part = path.with_name(f"{path.name}.part")  # one run a folder: a killed one's is overwritten
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                os.replace(path, previous(path))
            os.replace(part, path)
            flush_folder(path.parent)
        except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError at times
            with suppress(OSError):  # read-only by now
                part.unlink(missing_ok=True)
            if "DataLoader worker" in str(error):  # its death can be raised anywhere
                raise
            kept = " or ".join(str(file) for file in (path, previous(path)) if file.exists())
            cause: BaseException | None = error  # torch has its own words for a write that failed
            while cause is not None and not isinstance(cause, OSError):
                cause = cause.__context__
            reason = (cause.strerror if cause else None) or str(error).splitlines()[0]
            raise UserError(
                f"{path}: the checkpoint could not be written ({reason}); make room or choose another paths.log_dir"
                + (f", then go on with ckpt={kept}" if kept else "")
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Callable | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """What ``path`` holds, or the one before where that is torn; never anything but tensors and plain values."""
        return torch.load(newest_intact(path), map_location=map_location or "cpu", weights_only=True)


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


def note_run(log_dir: str | Path, folder: str | Path) -> None:
    """Note that a training begins in a folder below ``log_dir``, for ``find_last``."""
    with suppress(ValueError):  # elsewhere
        line = Path(folder).resolve().relative_to(Path(log_dir).resolve())
        with Path(log_dir, RUNS).open("a") as file:
            file.write(f"{line}\n")


def find_last(log_dir: str | Path) -> Path:
    """last.ckpt of the run below ``log_dir`` that began last.

    Which began last is noted in runs.txt: clocks go wrong, and are set back. Runs that are not in it, brought from
    elsewhere, come before those that are, in the order of their files' times.

    Raises:
        UserError: if there is none.
    """
    root = Path(log_dir).resolve()
    found = {path.with_name("last.ckpt") for path in root.rglob("checkpoints/last.ckpt*") if path.suffix != ".part"}
    if not found:
        raise UserError(f"ckpt=last: no run below {log_dir} has a checkpoint; leave ckpt out or set paths.log_dir")
    lines = (root / RUNS).read_text().splitlines() if (root / RUNS).is_file() else []
    order = {root / line / "checkpoints" / "last.ckpt": number for number, line in enumerate(lines)}

    def age(path: Path) -> tuple[int, float]:
        written = max(file.stat().st_mtime for file in (path, previous(path)) if file.exists())
        return order.get(path, -1), written

    newest = max(found, key=age)
    log.info("ckpt=last is %s", newest)
    return newest


def flush_folder(folder: Path) -> None:
    """Make the renames in a folder last, where the system can open folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
