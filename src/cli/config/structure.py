"""Check that overrides set existing keys, and keep the parts of the config that a command needs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.cli.conf_folder import CONF, conf_folders
from src.cli.help_page import choices
from src.cli.messages.argument_keys import REFERENCE
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
        if fault := find_blocked_key(key_of(override), content):
            raise UserError(f"{override}: {fault}")
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


def find_blocked_key(key: str, defaults: Any) -> str:
    """Return why a key cannot be set (it lies below a reference or a plain value); "" if it can."""
    node, parts = defaults, key.split(".")
    for depth, part in enumerate(parts[:-1], 1):
        if part not in node:
            return ""
        node, above = node[part], ".".join(parts[:depth])
        if reference := REFERENCE.fullmatch(str(node)):
            return f"{above} is {node}; set {'.'.join([reference[1], *parts[depth:]])}"
        if isinstance(node, list):
            if parts[depth].isdecimal() and int(parts[depth]) < len(node):
                return ""
            return f"{above} is a list; its indices are 0 to {len(node) - 1}"
        if not isinstance(node, dict):
            return f"{above} is a value ({as_written(node)}) and has no keys"
    return ""


def remedy(key: str, default: Any) -> str:
    """Return the end of an error message: the values that a key may have."""
    if names := choices(key.rpartition(".")[2]):
        return f"; it may be {', '.join(names)}"
    return "" if isinstance(default, DictConfig) else f", such as {key}={as_written(default)}"


def compose_groups(name: str, overrides: Sequence[str]) -> DictConfig:
    """Return the config composed with the overrides that choose from groups, without those that set values."""
    return compose_anew(name, [o for o in overrides if is_group(key_of(o)) and "=" in o])


def compose_anew(name: str, overrides: Sequence[str]) -> DictConfig:
    """Return a further config, with the search path of the running command; also in Python, where Hydra runs none."""
    overrides = [*search_path(), *overrides]
    if GlobalHydra.instance().is_initialized():
        return hydra.compose(name, overrides)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(name, overrides)


def search_path() -> list[str]:
    """Return the hydra.searchpath=... overrides of the running command, for composing further configs."""
    overrides = HydraConfig.get().overrides.hydra if HydraConfig.initialized() else []
    return [override for override in overrides if key_of(override) == "hydra.searchpath"]


def is_group(key: str) -> bool:
    """Tell whether a key is a group of conf/."""
    # Path.is_dir would raise an error for a key that is too long for a file name.
    return any(os.path.isdir(folder / key) for folder in conf_folders())


def key_of(override: str) -> str:
    """Return the key that an override sets: "+head.rate=4" -> "head.rate"."""
    return override.split("=")[0].lstrip("+~")


def as_written(value: Any) -> str:
    """Return a value as written on the command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return "''" if value == "" else str(value)
