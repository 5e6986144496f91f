"""Replay the overrides of a run when it is resumed, so that the same training continues."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, read_write
from omegaconf.errors import OmegaConfBaseException

from src.cli.check_structure import is_group, key_of, search_path
from src.runs.provenance import read_overrides
from src.system.errors import UserError

log = logging.getLogger(__name__)

NOT_REPLAYED = ("ckpt", "init_from", "hydra", "paths", "name")  # what belongs to one run
SAME_KEYS = ("trainer", "callbacks", "logger")  # groups whose choices have mostly the same keys


def replay_overrides(config: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, list[str]]:
    """Return the config and overrides of a training, including the overrides of the run that it resumes.

    Current overrides take precedence, and choosing a group discards older overrides within it.

    Raises:
        UserError: if the overrides of the run are not valid in this version.
    """
    given = list(overrides)
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
    with read_write(hydra_config):  # for the run's record and the loggers
        hydra_config.overrides.task = [*replayed, *given]
    return resumed, [*replayed, *given]


def is_replaced(override: str, given: Sequence[str], before: Sequence[str]) -> bool:
    """Tell whether an override applies to one run only, or a current override replaces it.

    Args:
        override: an element of ``before``.
        given: the current overrides.
        before: the overrides of the run to resume.
    """
    key = key_of(override)
    if key.partition(".")[0] in NOT_REPLAYED:
        return True
    new_choices = [key_of(other) for other in given if other not in before and is_group(key_of(other))]
    groups = [group for group in new_choices if group not in SAME_KEYS]
    return key in map(key_of, given) or any(key.startswith(f"{group}.") for group in groups)
