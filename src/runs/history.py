"""Find the newest run in a log folder, for ckpt=last."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from src.runs.checkpoint_files import newest_intact, previous_path
from src.system.errors import UserError
from src.system.folder_lock import is_first_process

log = logging.getLogger(__name__)

RUNS = "runs.txt"  # file in paths.log_dir that lists the runs' folders in the order they started


def record_run(log_dir: str | Path, folder: str | Path) -> None:
    """Record the start of a run in ``log_dir`` (first process only), for ``find_newest_run``."""
    if not is_first_process():
        return
    with suppress(ValueError):  # the run's folder is not below log_dir
        line = Path(folder).resolve().relative_to(Path(log_dir).resolve())
        with Path(log_dir, RUNS).open("a") as file:
            file.write(f"{line}\n")


def find_last_checkpoint(log_dir: str | Path, sweep: str | Path | None = None) -> Path:
    """Return last.ckpt of the newest run, to resume from.

    Args:
        log_dir: folder of the runs.
        sweep: folder of the current sweep, whose jobs are ignored.

    Raises:
        UserError: if no run has a checkpoint.
    """
    last = find_newest_run(log_dir, sweep)
    log.info("ckpt=last is %s", last)
    return last


def find_best_checkpoint(log_dir: str | Path) -> Path:
    """Return best.ckpt of the newest run, or its last.ckpt if it has no best.ckpt yet.

    Raises:
        UserError: if no run has a checkpoint.
    """
    last = find_newest_run(log_dir)
    best = last.with_name("best.ckpt")
    checkpoint = newest_intact(best if best.is_file() or previous_path(best).is_file() else last)
    log.info("ckpt=last is %s", checkpoint)
    return checkpoint


def find_newest_run(log_dir: str | Path, sweep: str | Path | None = None) -> Path:
    """Return the path of last.ckpt of the newest run below ``log_dir``; possibly only its previous version exists.

    The order comes from runs.txt, because clocks can be wrong. Runs that are not in it, such as copied ones, count as
    older, and are ordered by modification time.

    Args:
        log_dir: folder of the runs.
        sweep: folder of runs to ignore.

    Raises:
        UserError: if no run has a checkpoint.
    """
    root = Path(log_dir).resolve()
    checkpoints = {
        path.with_name("last.ckpt")
        for path in root.rglob("checkpoints/last.ckpt*")
        if path.suffix != ".part" and not (sweep and path.is_relative_to(Path(sweep).resolve()))
    }
    if not checkpoints:
        before = " before this sweep" if sweep else ""
        raise UserError(f"ckpt=last: no run below {log_dir} has a checkpoint{before}; name a file or set paths.log_dir")
    lines = (root / RUNS).read_text().splitlines() if (root / RUNS).is_file() else []
    order = {root / line / "checkpoints" / "last.ckpt": position for position, line in enumerate(lines)}

    def age(path: Path) -> tuple[int, float]:
        written = max(file.stat().st_mtime for file in (path, previous_path(path)) if file.exists())
        return order.get(path, -1), written

    return max(checkpoints, key=age)
