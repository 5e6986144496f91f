"""Replay the overrides of a run when it is resumed, so that the same training continues."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from src.cli.conf_groups import is_group
from src.cli.overrides import as_written, key_of
from src.cli.recompose import recompose
from src.runs.provenance import read_config, read_overrides
from src.runs.resumed_settings import KEPT
from src.system.dotted_keys import flattened
from src.system.errors import UserError, one_line

log = logging.getLogger(__name__)

NOT_REPLAYED = ("ckpt", "init_from", "hydra", "paths", "name")  # keys and groups that belong to one run
SAME_KEYS = ("trainer", "callbacks", "logger")  # groups whose choices have mostly the same keys


def replay_overrides(config: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, list[str]]:
    """Return the config and overrides of a training, including the overrides of the run that it resumes.

    Current overrides take precedence, and choosing a group discards older overrides within it. Where defaults have
    changed since the run began, the run's values become overrides too.

    Raises:
        UserError: if the overrides of the run are not valid in this version.
    """
    given = list(overrides)
    before = read_overrides(Path(config.ckpt))
    replayed = [override for override in before if not is_replaced(override, given, before)]
    try:
        resumed = compose_again(config, [*replayed, *given])
        if changed := changed_defaults(resumed, read_config(Path(config.ckpt)), given):
            resumed = compose_again(config, [*replayed, *changed, *given])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(
            f"ckpt={config.ckpt}: the overrides of its run ({' '.join(replayed)}) do not fit: {one_line(str(error))}"
        ) from error
    if replayed:
        log.info("resuming with the overrides of the run: %s", " ".join(replayed))
    if changed:
        log.info("keeping the defaults that the run began with: %s", " ".join(changed))
    overrides = [*replayed, *changed, *given]
    hydra_config: Any = HydraConfig.get()
    with read_write(hydra_config):  # for the run's record and the loggers
        hydra_config.overrides.task = overrides
    return resumed, overrides


def compose_again(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return the config of the same command, checkpoint and output folder with other overrides."""
    composed = recompose(config.command, overrides)
    composed.ckpt = config.ckpt
    composed.paths.output_dir = config.paths.output_dir  # in Python, no override sets it
    return composed


def changed_defaults(config: DictConfig, before: Mapping[str, Any], given: Sequence[str]) -> list[str]:
    """Return overrides that give a config the values of an earlier one, except where current overrides decide.

    Args:
        config: the config with the overrides of both runs.
        before: the resolved config of the run to resume.
        given: the current overrides; a recipe (experiment=...) among them decides everything.
    """
    decided = [key_of(override) for override in given]
    if "experiment" in decided:
        return []
    prefixes = tuple(f"{key}." for key in decided if key not in SAME_KEYS)
    content: Any = OmegaConf.to_container(config)
    now, then = dict(flattened(content)), dict(flattened(before))
    keys = [key for key in now.keys() & then.keys() if f"{key}.".startswith(tuple(f"{part}." for part in KEPT))]
    return [
        f"{key}={as_written(then[key])}"
        for key in sorted(keys)
        if now[key] != then[key]
        and not f"{key}.".startswith(prefixes)
        and not key.endswith("_target_")  # an old name of the same class
        and not (isinstance(now[key], str) and "${" in now[key])  # follows another key
        # Numbers and null only: strings may be paths, which the record holds in full and which may have moved, or names
        # that this version no longer has. If such a default has changed, the check of resumed runs names it.
        and isinstance(then[key], (int, float, NoneType))
    ]


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
