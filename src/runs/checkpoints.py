"""Find checkpoints: the file that ckpt= stands for, an intact version of it, and the one that a run resumes from."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from src.runs.networks import find_network, network_names
from src.system.addresses import HUB_FILE, fetch_address, is_address
from src.system.errors import UserError
from src.system.files import expand_path
from src.system.folder_lock import is_first_process
from src.system.weight_files import find_fault

log = logging.getLogger(__name__)

RUNS = "runs.txt"  # file in paths.log_dir that lists the runs' folders in the order they started
NO_CHECKPOINT = (
    "ckpt=CKPT is needed: the best.ckpt of a run, or ckpt=last for that of the newest training run, "
    f"or ckpt={network_names()[0]}, which comes with the package"
)


# What ckpt= stands for


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


def find_existing_checkpoint(ckpt: str | Path | None) -> Path:
    """Return the file that a value of ckpt stands for; see ``find_checkpoint``.

    Raises:
        UserError: if there is no such file.
    """
    if not ckpt:
        raise UserError(NO_CHECKPOINT)
    path = find_checkpoint(ckpt)
    if not path.is_file():
        raise UserError(
            f"ckpt={path}: {why_no_file(path)}, and no network that comes with the package "
            f"({', '.join(network_names())})"
        )
    return path


def belongs_to_no_run(given: str) -> bool:
    """Tell whether a value of ckpt is a network without a run: an address, a network of the package, safetensors."""
    return is_address(given) or find_network(given) is not None or given.endswith(".safetensors")


# ckpt=last and init_from=last


def record_run(log_dir: str | Path, folder: str | Path) -> None:
    """Record the start of a run in ``log_dir`` (first process only), for ``find_newest_run``."""
    if not is_first_process():
        return
    with suppress(ValueError):  # the run's folder is not below log_dir
        line = Path(folder).resolve().relative_to(Path(log_dir).resolve())
        with Path(log_dir, RUNS).open("a") as file:
            file.write(f"{line}\n")


def find_last_checkpoint(log_dir: str | Path, key: str = "ckpt", sweep: str | Path | None = None) -> Path:
    """Return last.ckpt of the newest training run, to resume from; possibly only its previous version exists.

    Args:
        log_dir: folder of the runs.
        key: the key that asks for it, for messages.
        sweep: folder of the current sweep, whose jobs are ignored.

    Raises:
        UserError: if no run has a checkpoint.
    """
    last = find_newest_run(log_dir, key, sweep) / "last.ckpt"
    log.info("%s=last is %s, the last checkpoint of the newest training run", key, last)
    return last


def find_best_checkpoint(log_dir: str | Path, key: str = "ckpt", sweep: str | Path | None = None) -> Path:
    """Return an intact best.ckpt of the newest training run, or its last.ckpt if it has no best.ckpt yet.

    The arguments are those of ``find_last_checkpoint``.

    Raises:
        UserError: if no run has a checkpoint, or neither that of the newest nor its previous version can be read.
    """
    folder = find_newest_run(log_dir, key, sweep)
    has_best = has_version(folder / "best.ckpt")
    checkpoint = newest_intact(folder / ("best.ckpt" if has_best else "last.ckpt"), key)
    which = "best checkpoint" if has_best else "last checkpoint (there is no best yet)"
    log.info("%s=last is %s, the %s of the newest training run", key, checkpoint, which)
    return checkpoint


def find_newest_run(log_dir: str | Path, key: str = "ckpt", sweep: str | Path | None = None) -> Path:
    """Return the checkpoint folder of the newest training run below ``log_dir``.

    The order comes from runs.txt, because clocks can be wrong. Runs that are not in it, such as copied ones, count as
    older, and are ordered by modification time.

    Args:
        log_dir: folder of the runs.
        key: the key that asks for it, for messages.
        sweep: folder of runs to ignore.

    Raises:
        UserError: if no run has a checkpoint.
    """
    root = Path(log_dir).resolve()
    written: dict[Path, float] = {}
    for path in root.rglob("checkpoints/last.ckpt*"):
        if path.suffix != ".part" and not (sweep and path.is_relative_to(Path(sweep).resolve())):
            written[path.parent] = max(path.stat().st_mtime, written.get(path.parent, 0.0))
    if not written:
        where = f"below {log_dir} has a checkpoint{' before this sweep' if sweep else ''}"
        raise UserError(f"{key}=last: no run {where}; name a file or set paths.log_dir")
    lines = (root / RUNS).read_text().splitlines() if (root / RUNS).is_file() else []
    order = {root / line / "checkpoints": position for position, line in enumerate(lines)}
    return max(written, key=lambda folder: (order.get(folder, -1), written[folder]))


# Both versions of a file


def previous_path(path: Path) -> Path:
    """Return the path of the previous version of a checkpoint, which is kept beside it."""
    return Path(f"{path}.previous")


def has_version(path: Path) -> bool:
    """Tell whether a checkpoint or its previous version exists; a kill between two renames leaves only the latter."""
    return path.is_file() or previous_path(path).is_file()


def newest_intact(path: str | Path, key: str = "ckpt") -> Path:
    """Return ``path``, or log a warning and return its previous version if it is damaged or missing.

    Args:
        path: the checkpoint.
        key: the key that asks for it, for messages.

    Raises:
        UserError: if neither can be read.
    """
    path, previous = Path(path), previous_path(Path(path))
    fault = find_checkpoint_fault(path)
    if not fault:
        return path
    if find_checkpoint_fault(previous):
        raise UserError(f"{key}={path}: {fault}, and its previous version is not intact either")
    log.warning("%s: %s; using the previous version, %s", path, fault, previous)
    return previous


def find_checkpoint_fault(path: Path) -> str:
    """Return why a file is not an intact checkpoint; "" if it is."""
    if not path.is_file():
        return "no such file"
    fault = find_fault(path)
    return f"damaged, or not a checkpoint ({fault})" if fault else ""


# What a run resumes from


def is_requeued() -> bool:
    """Tell whether SLURM has started this job again."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def find_checkpoint_to_resume(folder: Path, ckpt: str | None) -> str | None:
    """Return the intact checkpoint that a training resumes from, or None for a new run.

    Args:
        folder: checkpoint folder of the run.
        ckpt: the checkpoint that the user names, if any; that of a job which SLURM started again takes precedence.

    Raises:
        UserError: if the checkpoint cannot be read, or the folder has those of another run. Two runs may get the same
            folder if the clock is set back.
    """
    last = folder / "last.ckpt"
    if is_requeued() and has_version(last):
        log.info("SLURM requeued this job: it resumes with ckpt=%s", last)
        ckpt = str(last)
    checkpoint = newest_intact(ckpt) if ckpt else None
    resumes_here = checkpoint is not None and checkpoint.parent.resolve() == folder.resolve()
    if is_first_process() and not resumes_here and has_version(last):
        raise UserError(
            f"{folder.parent} already holds a training run: resume it with ckpt={last}, or choose another folder"
        )
    return str(checkpoint) if checkpoint else None


def copy_best_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy the best checkpoint of the resumed run into the folder of the new run."""
    best = checkpoint.parent / "best.ckpt"
    if best.parent.resolve() != folder.resolve() and has_version(best):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(newest_intact(best), folder / best.name)
