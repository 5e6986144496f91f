"""What the default config is made of, and overrides that would take away what the commands are built on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from src.cli.argument_keys import REFERENCE
from src.cli.conf_folder import CONF, conf_folders
from src.cli.help_page import choices
from src.errors import UserError

OPTIONAL = re.compile(r"logger|(callbacks|logger)\.\w+")  # what a command can do without


def check_structure(config: DictConfig, defaults: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse overrides that set nothing of their own, or remove what says which object to build.

    Args:
        defaults: the config without the overrides, but for the choices of groups.

    Raises:
        UserError: naming the override and what to write instead.
    """
    content = OmegaConf.to_container(defaults)
    for override in overrides:
        if fault := misplaced(key_of(override), content):
            raise UserError(f"{override}: {fault}")
    for override in overrides:
        key = key_of(override)
        default, value = OmegaConf.select(defaults, key), OmegaConf.select(config, key)
        builds = isinstance(default, DictConfig) and "_target_" in default
        broken = builds and not (isinstance(value, DictConfig) and "_target_" in value)
        removed = override.startswith("~") and ("." not in key or key.startswith("paths.") or key.endswith("._target_"))
        if (broken or removed) and not OPTIONAL.fullmatch(key):
            raise UserError(f"{override}: {key} is needed{remedy(key, default)}")
    for group in ("callbacks", "logger"):
        for entry, value in (config.get(group) or {}).items():
            if value and not (isinstance(value, DictConfig) and "_target_" in value):
                raise UserError(
                    f"{group}.{entry}={as_written(value)}: {group}.{entry} takes null, or a _target_ with its keys"
                )


def misplaced(key: str, defaults: Any) -> str:
    """Why nothing can be set at a key: it lies below a reference or a plain value; "" where it can be set."""
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
            return f"{above} is a list; its places are 0 to {len(node) - 1}"
        if not isinstance(node, dict):
            return f"{above} is a value ({as_written(node)}) and has no keys"
    return ""


def remedy(key: str, default: Any) -> str:
    if names := choices(key.rpartition(".")[2]):
        return f"; it may be {', '.join(names)}"
    return "" if isinstance(default, DictConfig) else f", such as {key}={as_written(default)}"


def compose_groups(name: str, overrides: Sequence[str]) -> DictConfig:
    """The config with the choices of groups among the overrides, and with none of the values."""
    groups = [o for o in overrides if is_group(key_of(o)) and "=" in o]
    if GlobalHydra.instance().is_initialized():
        return hydra.compose(name, groups)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(name, groups)


def is_group(key: str) -> bool:
    # Path.is_dir raises where a key is too long for a name
    return any(os.path.isdir(folder / key) for folder in conf_folders())


def key_of(override: str) -> str:
    """What an override sets: "+head.rate=4" -> "head.rate"."""
    return override.split("=")[0].lstrip("+~")


def as_written(value: Any) -> str:
    """Return a value as one would write it on the command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return "''" if value == "" else str(value)
