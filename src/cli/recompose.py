"""Compose further configs while a command runs, to compare its config with them or to replace it."""

from __future__ import annotations

from collections.abc import Sequence

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.cli.conf_folder import CONF
from src.cli.conf_groups import is_group
from src.cli.overrides import key_of


def recompose(command: str, overrides: Sequence[str]) -> DictConfig:
    """Return the config of a command with other overrides, and with the search path of the command that runs."""
    overrides = [*search_path_overrides(), *overrides]
    if GlobalHydra.instance().is_initialized():
        return hydra.compose(command, overrides)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):  # in Python, where Hydra runs no command
        return hydra.compose(command, overrides)


def recompose_defaults(command: str, overrides: Sequence[str]) -> DictConfig:
    """Return the config with the overrides that choose from groups, without those that set values."""
    return recompose(command, [override for override in overrides if is_group(key_of(override)) and "=" in override])


def search_path_overrides() -> list[str]:
    """Return the overrides hydra.searchpath=... of the command that runs."""
    overrides = HydraConfig.get().overrides.hydra if HydraConfig.initialized() else []
    return [override for override in overrides if key_of(override) == "hydra.searchpath"]
