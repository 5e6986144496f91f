"""Find the training below a log folder that began last: what ckpt=last stands for."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from src.errors import UserError
from src.runs.checkpoint_files import newest_intact, previous

log = logging.getLogger(__name__)

RUNS = "runs.txt"  # in paths.log_dir: the folders of trainings, in the order of their beginning


def note_run(log_dir: str | Path, folder: str | Path) -> None:
    """Note that a training begins in a folder below ``log_dir``, for ``find_last``."""
    with suppress(ValueError):  # elsewhere
        line = Path(folder).resolve().relative_to(Path(log_dir).resolve())
        with Path(log_dir, RUNS).open("a") as file:
            file.write(f"{line}\n")


def find_last(log_dir: str | Path) -> Path:
    """Return last.ckpt of the newest run, from which training goes on.

    Raises:
        UserError: if no run has one.
    """
    last = newest_last(log_dir)
    log.info("ckpt=last is %s", last)
    return last


def find_best(log_dir: str | Path) -> Path:
    """Return best.ckpt of the newest run, or its last.ckpt where no validation has made a best one.

    Raises:
        UserError: if no run has a checkpoint.
    """
    last = newest_last(log_dir)
    best = last.with_name("best.ckpt")
    found = newest_intact(best if best.is_file() or previous(best).is_file() else last)
    log.info("ckpt=last is %s", found)
    return found


def newest_last(log_dir: str | Path) -> Path:
    """Return last.ckpt of the run below ``log_dir`` that began last; the file may be there as the one before it only.

    Which began last is noted in runs.txt: clocks go wrong, and are set back. Runs that are not in it, brought from
    elsewhere, come before those that are, in the order of their files' times.

    Raises:
        UserError: if there is none.
    """
    root = Path(log_dir).resolve()
    found = {path.with_name("last.ckpt") for path in root.rglob("checkpoints/last.ckpt*") if path.suffix != ".part"}
    if not found:
        raise UserError(f"ckpt=last: no run below {log_dir} has a checkpoint; name a file or set paths.log_dir")
    lines = (root / RUNS).read_text().splitlines() if (root / RUNS).is_file() else []
    order = {root / line / "checkpoints" / "last.ckpt": number for number, line in enumerate(lines)}

    def age(path: Path) -> tuple[int, float]:
        written = max(file.stat().st_mtime for file in (path, previous(path)) if file.exists())
        return order.get(path, -1), written

    return max(found, key=age)
