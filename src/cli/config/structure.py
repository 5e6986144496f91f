"""Check that overrides set existing keys, and keep the parts of the config that a command needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.cli.conf_groups import choice_file, choices, is_group
from src.cli.messages.unknown_key import explain_blocked_key
from src.cli.overrides import as_written, key_of, listed_choices
from src.system.dotted_keys import flattened
from src.system.errors import UserError

OPTIONAL_PARTS = re.compile(r"logger|(callbacks|logger)\.\w+")  # parts that a command can do without


def check_structure(config: DictConfig, defaults: DictConfig, overrides: Sequence[str]) -> None:
    """Check that every override sets a key that can be set, and removes no object that the command needs.

    Args:
        config: the composed config.
        defaults: the config with group choices applied, but no other overrides.
        overrides: the overrides on the command line.

    Raises:
        UserError: with the override and what to write instead.
    """
    content = OmegaConf.to_container(defaults)
    for override in overrides:
        if reason := explain_blocked_key(key_of(override), content):
            raise UserError(f"{override}: {reason}")
        if is_group(key_of(override)) and len(names := listed_choices(override)) > 1:
            check_list(override, names, OmegaConf.select(defaults, key_of(override)))
    for override in overrides:
        key = key_of(override)
        default, value = OmegaConf.select(defaults, key), OmegaConf.select(config, key)
        builds = isinstance(default, DictConfig) and "_target_" in default
        broken = builds and not (isinstance(value, DictConfig) and "_target_" in value)
        removed = override.startswith("~") and ("." not in key or key.startswith("paths.") or key.endswith("._target_"))
        if (broken or removed) and not OPTIONAL_PARTS.fullmatch(key):
            raise UserError(f"{override}: {key} is needed{remedy(key, default)}")
    for group in ("callbacks", "logger"):
        for entry, value in (config.get(group) or {}).items():
            if value and not (isinstance(value, DictConfig) and "_target_" in value):
                raise UserError(
                    f"{group}.{entry}={as_written(value)}: {group}.{entry} takes null, or a _target_ with its arguments"
                )


def check_list(override: str, names: Sequence[str], part: Any) -> None:
    """Check that a list of choices may be combined, as those of callbacks and loggers may.

    Args:
        override: the override that chooses them.
        names: the choices.
        part: the part of the config that they give together.

    Raises:
        UserError: if the group takes one choice, or two choices give the same entry different classes.
    """
    group = key_of(override)
    if isinstance(part, DictConfig) and "_target_" in part:
        every = ",".join(names)
        raise UserError(f"{override}: {group} takes one choice; for one run with each, write -m {group}={every}")
    if not isinstance(part, DictConfig):  # of a recipe, whose values the next recipe may replace
        return
    for first, second in combinations(names, 2):
        before, after = targets_of(group, first), targets_of(group, second)
        if clash := next((key for key in before if after.get(key, before[key]) != before[key]), None):
            entry = clash.partition(".")[0]
            raise UserError(
                f"{override}: {first} and {second} exclude each other, because both set {group}.{entry}; leave one out"
            )


def targets_of(group: str, choice: str) -> dict[str, Any]:
    """Return the classes that a choice of a group names itself, without the choices that it is based on, by key."""
    path = choice_file(group, choice)
    content: Any = OmegaConf.to_container(OmegaConf.load(path)) if path else {}
    return {key: value for key, value in flattened(content) if key.endswith("._target_")}


def remedy(key: str, default: Any) -> str:
    """Return the end of an error message: the values that a key may have."""
    if names := choices(key.rpartition(".")[2]):
        return f"; it may be {', '.join(names)}"
    return "" if isinstance(default, DictConfig) else f", such as {key}={as_written(default)}"
