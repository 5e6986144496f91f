"""Which training below a log folder began last: what ckpt=last stands for."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from src.errors import UserError
from src.runs.checkpoint_files import previous

log = logging.getLogger(__name__)

RUNS = "runs.txt"  # in paths.log_dir: the folders of trainings, in the order of their beginning


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
