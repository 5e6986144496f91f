"""Check that overrides set existing keys, and keep the parts of the config that a command needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.cli.conf_groups import choices
from src.cli.messages.unknown_key import explain_blocked_key
from src.cli.overrides import as_written, key_of
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


def remedy(key: str, default: Any) -> str:
    """Return the end of an error message: the values that a key may have."""
    if names := choices(key.rpartition(".")[2]):
        return f"; it may be {', '.join(names)}"
    return "" if isinstance(default, DictConfig) else f", such as {key}={as_written(default)}"
