"""The jobs of a multirun: one that fails does not stop the others, and one that is done is not done again."""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from src.cli.resolvers import register_resolvers
from src.errors import UserError
from src.runs.checkpoint_files import newest_intact, previous_path
from src.runs.folder import exclusive_folder
from src.system.files import write_text
from src.system.signals import Stopped

log = logging.getLogger(__name__)

RECORD = "status.json"  # in a job's folder: status (unfinished, done, failed), overrides, value, seconds, error


class Sweep(Callback):
    """Notes where a multirun puts its jobs, and brings our resolvers to the processes that a launcher starts."""

    folder: Path | None = None  # of the multirun in this process
    lock = ExitStack()  # kept until the process ends

    def __init__(self) -> None:
        register_resolvers()

    def __reduce__(self) -> tuple[type[Sweep], tuple[()]]:
        return Sweep, ()

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        try:
            Sweep.lock.enter_context(exclusive_folder(folder))
        except UserError as error:  # Hydra would turn it into a warning
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        Sweep.folder = folder


def attempt(config: DictConfig, work: Callable[[DictConfig], Any], explain: Callable[[BaseException], str]) -> Any:
    """One job: skipped where its folder says done, resumed where it has a checkpoint; None where it fails.

    Args:
        explain: an error in one line, if it is one of the user's.

    Raises:
        UserError: if the folder holds another job.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    overrides = list(HydraConfig.get().overrides.task)
    before = read_record(folder) or {"status": "unfinished", "overrides": overrides, "value": None, "seconds": 0.0}
    if before["overrides"] != overrides:
        raise UserError(f"hydra.sweep.dir: {folder} holds the job {' '.join(before['overrides'])}; name another folder")
    if before["status"] == "done":
        log.info("done already: %s", folder)
        return before["value"]
    record = {**before, "status": "unfinished", "error": ""}
    write_record(folder, record)
    resume(config, folder)
    start = time.perf_counter()
    try:
        record["value"] = work(config)
        record["status"] = "done"
    except Stopped:  # stops the sweep, too
        raise
    except (Exception, SystemExit) as error:
        record |= {"status": "failed", "error": explain(error)}
        (folder / "traceback.txt").write_text(traceback.format_exc())
        log.error("failed: %s", record["error"])
    record["seconds"] = round(before["seconds"] + time.perf_counter() - start, 1)
    write_record(folder, record)
    free_memory()
    return record["value"]


def resume(config: DictConfig, folder: Path) -> None:
    """Go on from the folder's last checkpoint, where a stopped training has left one.

    A job whose checkpoints are all damaged begins anew, says so and puts them aside.
    """
    if "init_from" not in config or config.ckpt:
        return

    last = folder / "checkpoints" / "last.ckpt"
    there = [
        path for path in (last, previous_path(last)) if path.is_file()
    ]  # only the latter after a kill between renames
    if not there:
        return
    try:
        config.ckpt = str(newest_intact(last))
        log.info("going on from %s", config.ckpt)
    except UserError as error:
        log.warning("%s; beginning anew", error)
        for path in there:
            path.rename(path.with_name(f"damaged_{path.name}"))


def free_memory() -> None:
    """What a failed job holds, before the next one begins."""
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        sys.modules["torch"].cuda.empty_cache()


def read_record(folder: Path) -> dict[str, Any] | None:
    """None where there is none, or a kill has cut it off."""
    try:
        return json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_record(folder: Path, record: dict[str, Any]) -> None:
    write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
