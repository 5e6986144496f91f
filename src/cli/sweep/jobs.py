"""Run the jobs of a multirun: a failed job does not stop the others, and a finished job is not repeated."""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from src.cli.messages.errors import explain
from src.cli.resolvers import register_resolvers
from src.cli.run_folder import check_run_folder
from src.cli.sweep.check import check_jobs, check_numbers_of_jobs, task_overrides
from src.runs.checkpoints import newest_intact, previous_path
from src.system.errors import UserError, printable
from src.system.files import write_text
from src.system.folder_lock import exclusive_folder, process_using
from src.system.signals import find_stop, hold_back_signals, set_stop_handlers, stop

log = logging.getLogger(__name__)

RECORD = "status.json"  # in a job's folder: status (unfinished, done, failed), overrides, value, seconds, error


class Sweep(Callback):
    """A Hydra callback that checks a multirun's jobs, locks its folder and remembers its path.

    Launchers pickle it. Unpickling calls the constructor, which registers the resolvers in the new process.
    """

    folder: Path | None = None  # the folder of this process's multirun
    lock = ExitStack()  # held until the process ends

    def __init__(self) -> None:
        register_resolvers()

    def __reduce__(self) -> tuple[type[Sweep], tuple[()]]:
        return Sweep, ()

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check the jobs and lock the folder; exit with status 2 if a job is wrong or another process has the lock."""
        folder = Path(config.hydra.sweep.dir)
        try:
            check_run_folder(folder, config)
            check_numbers_of_jobs(config)
            check_jobs(config)
            Sweep.lock.enter_context(exclusive_folder(folder))
        except (UserError, HydraException, OmegaConfBaseException) as error:  # Hydra would only warn
            print(f"error: {printable(explain(error, config.command, task_overrides(config)))}", file=sys.stderr)
            sys.exit(2)
        Sweep.folder = folder
        set_stop_handlers(functools.partial(stop_jobs, folder=folder))
        hold_back_signals()


def stop_jobs(number: int, frame: FrameType | None, folder: Path) -> NoReturn:
    """Handle a signal: stop the jobs in other processes, and wait up to a minute for their checkpoints.

    Otherwise the launcher would kill these processes.
    """
    running = {path.parent: process_using(path.parent) for path in folder.rglob(RECORD)}
    for process in filter(None, running.values()):
        with suppress(ProcessLookupError):
            os.kill(process, number)
    end = time.monotonic() + 60
    while any(process and process_using(job) == process for job, process in running.items()) and time.monotonic() < end:
        time.sleep(0.05)
    stop(number, frame)


def run_job(config: DictConfig, work: Callable[[DictConfig], Any], explain: Callable[[BaseException], str]) -> Any:
    """Run one job and return its value; None if it fails.

    A finished job is skipped, and an interrupted training resumes from its last checkpoint.

    Args:
        config: config of the job.
        work: runs the job and returns its value.
        explain: returns a one-line description of an error.

    Raises:
        UserError: if the folder holds a different job.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    overrides = list(HydraConfig.get().overrides.task)
    before = read_record(folder) or {"status": "unfinished", "overrides": overrides, "value": None, "seconds": 0.0}
    if before["overrides"] != overrides:
        raise UserError(
            f"hydra.sweep.dir: {folder} holds the job {' '.join(before['overrides'])}; choose another folder"
        )
    if before["status"] == "done":
        log.info("already done: %s", folder)
        return before["value"]
    record = {**before, "status": "unfinished", "error": ""}
    write_record(folder, record)
    use_last_checkpoint(config, folder)
    start = time.perf_counter()
    try:
        record["value"] = work(config)
        record["status"] = "done"
    except (Exception, SystemExit) as error:
        if find_stop(error):  # stops the whole multirun
            raise
        record |= {"status": "failed", "error": explain(error)}
        (folder / "traceback.txt").write_text(traceback.format_exc())
        log.error("failed: %s", record["error"])
    record["seconds"] = round(before["seconds"] + time.perf_counter() - start, 1)
    write_record(folder, record)
    free_memory()
    return record["value"]


def use_last_checkpoint(config: DictConfig, folder: Path) -> None:
    """Set ``ckpt`` to the last checkpoint in the folder, if an interrupted training left one.

    It takes precedence over the ``ckpt`` that the job started with. If all checkpoints in the folder are damaged, they
    are renamed, and the job starts again.
    """
    if config.command != "train":
        return

    last = folder / "checkpoints" / "last.ckpt"
    # A kill between two renames may leave only the previous version.
    checkpoints = [path for path in (last, previous_path(last)) if path.is_file()]
    if not checkpoints:
        return
    try:
        config.ckpt = str(newest_intact(last))
        log.info("resuming from %s", config.ckpt)
    except UserError as error:
        log.warning("%s; starting again", error)
        for path in checkpoints:
            path.rename(path.with_name(f"damaged_{path.name}"))


def free_memory() -> None:
    """Free the memory of a finished or failed job."""
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        sys.modules["torch"].cuda.empty_cache()


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record in a job's folder; None if it does not exist or is incomplete after a kill."""
    try:
        return json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write a job's record."""
    write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
