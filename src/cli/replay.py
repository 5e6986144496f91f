"""Replay the overrides of a run when it is resumed, so that the same training goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, read_write
from omegaconf.errors import OmegaConfBaseException

from src.cli.check_structure import is_group, key_of, search_path
from src.errors import UserError
from src.runs.history import find_last_checkpoint
from src.runs.provenance import read_overrides

log = logging.getLogger(__name__)

OF_ONE_RUN = ("ckpt", "init_from", "hydra", "paths", "name")  # settings that a resumed run does not take over
SAME_KEYS = ("trainer", "callbacks", "logger")  # groups whose choices share most keys


def replay_overrides(config: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, list[str]]:
    """Return the config of a training, and its overrides, with those of the run that it resumes.

    ``ckpt=last`` is replaced by the checkpoint's path. Overrides that are given now take precedence, and the choice of
    a group discards older overrides within it.

    Raises:
        UserError: if no run has a checkpoint, or its overrides do not fit this version.
    """
    given = list(overrides)
    if config.ckpt == "last":
        in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        sweep = HydraConfig.get().sweep.dir if in_sweep else None
        config.ckpt = str(find_last_checkpoint(config.paths.log_dir, sweep))
    before = read_overrides(Path(config.ckpt))
    replayed = [override for override in before if not is_replaced(override, given, before)]
    if not replayed:
        return config, given
    try:
        resumed = hydra.compose(config.command, [*search_path(), *replayed, *given])
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"ckpt={config.ckpt}: the overrides of its run ({' '.join(replayed)}) do not fit: {reason}"
        ) from error
    log.info("resuming with the overrides of the run: %s", " ".join(replayed))
    resumed.ckpt = config.ckpt
    hydra_config: Any = HydraConfig.get()
    with read_write(hydra_config):  # the record and the loggers read them there
        hydra_config.overrides.task = [*replayed, *given]
    return resumed, [*replayed, *given]


def is_replaced(override: str, given: Sequence[str], before: Sequence[str]) -> bool:
    """Tell whether an override is of one run only, or is replaced by one of those that are given now.

    Args:
        override: one of those in ``before``.
        given: overrides of the run that begins.
        before: overrides of the run that it resumes.
    """
    key = key_of(override)
    if key.partition(".")[0] in OF_ONE_RUN:
        return True
    new_choices = [key_of(other) for other in given if other not in before and is_group(key_of(other))]
    groups = [group for group in new_choices if group not in SAME_KEYS]
    return key in map(key_of, given) or any(key.startswith(f"{group}.") for group in groups)
