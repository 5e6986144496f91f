"""Check the folder of a run before it is created, and remove it if the command is rejected before it has begun."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from src.cli.config.paths import find_obstacle
from src.cli.overrides import key_of
from src.runs.provenance import CONFIG, RECORD
from src.system.errors import UserError, printable
from src.system.folder_lock import is_first_process

DESCRIPTIONS = {".hydra", ".lock", CONFIG, RECORD}  # of a run, written before it produces anything
FOLDER_KEYS = ("hydra.run.dir", "hydra.sweep.dir", "paths.log_dir")  # the first that is given decides


class RunFolder(Callback):
    """A Hydra callback that checks a run's folder, and remembers which folders the run creates."""

    created: tuple[Path, ...] = ()  # by this process's run: its folder, then those above it that did not exist

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check that the folder can be created; exit with status 2 if not."""
        with suppress(OmegaConfBaseException):  # a wrong path, which the composition of the job reports
            folder = Path(config.hydra.run.dir).absolute()
            try:
                check_run_folder(folder, config)
            except UserError as error:  # Hydra would only warn
                print(f"error: {printable(str(error))}", file=sys.stderr)
                sys.exit(2)
            RunFolder.created = tuple(path for path in (folder, *folder.parents) if not path.exists())


def check_run_folder(folder: Path, config: DictConfig) -> None:
    """Check that the folder of a run or multirun can be created.

    Raises:
        UserError: with the override that decides where it is.
    """
    if fault := find_obstacle(folder, is_file=False):
        given = {key_of(override): override for part in ("hydra", "task") for override in config.hydra.overrides[part]}
        override = next((given[key] for key in FOLDER_KEYS if key in given), f"paths.log_dir={config.paths.log_dir}")
        raise UserError(f"{override}: {fault}; choose another folder")


def discard_run_folder(log: str) -> None:
    """Remove the folders that this run created, if they hold nothing but its description and an empty log.

    Args:
        log: name of the log.
    """
    if not RunFolder.created or not is_first_process():
        return
    folder, *parents = RunFolder.created
    with suppress(OSError):  # a folder above it may hold other runs by now
        others = set(os.listdir(folder)) - DESCRIPTIONS
        if others <= {log} and not any((folder / name).stat().st_size for name in others):
            shutil.rmtree(folder)
            for parent in parents:
                parent.rmdir()
