"""Compose a command's config in Python, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.conf_folder import CONF
from src.cli.config.checkpoints import check_checkpoints, fetch_checkpoints, find_checkpoints
from src.cli.config.paths import check_folders, expand_paths
from src.cli.config.replay import replay_overrides
from src.cli.config.structure import check_structure, compose_groups
from src.cli.config.values import check_values
from src.cli.config_sources import register_config_sources
from src.cli.messages.errors import explain, explain_start
from src.cli.resolvers import register_resolvers
from src.system.errors import UserError


def compose(command: str, *overrides: str, output_dir: str | Path) -> DictConfig:
    """Return the config of ``python -m src.COMMAND OVERRIDES``, for the function that the command calls.

        metrics = train(compose("train", "head=vanilla", "trainer.max_steps=100", output_dir="logs/mine"))

    Args:
        command: name of the command, such as "train".
        overrides: overrides as on the command line.
        output_dir: folder of the run; created if necessary.

    Raises:
        UserError: if an override has an unknown key or a wrong value, or ckpt=last finds no run.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    register_resolvers()
    register_config_sources()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose(command, [f"paths.output_dir='{folder}'", *overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(config)  # loggers ask it for the overrides
        OmegaConf.set_struct(config, False)
        del config["hydra"]
        OmegaConf.set_struct(config, True)
        config = complete(config, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, command, overrides)) from error
    except (ValueError, TypeError) as error:
        if line := explain_start(error, command, overrides):
            raise UserError(line) from error
        raise
    return config


def complete(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return a composed config, checked, with its paths and ``ckpt=last`` expanded.

    A training that resumes a run also gets the overrides of that run.

    Args:
        config: the config as Hydra composed it.
        overrides: the overrides that the user gave.

    Raises:
        UserError: if an override has an unknown key or a wrong value, ckpt=last finds no run, or a path is read-only.
    """
    defaults = check_and_expand(config, overrides)
    if config.command == "train" and isinstance(config.ckpt, str):
        config, overrides = replay_overrides(config, overrides)
        defaults = check_and_expand(config, overrides)
    check_values(config, defaults, overrides)
    check_checkpoints(config)
    check_folders(config)
    fetch_checkpoints(config)  # last, because it may take minutes
    return config


def check_and_expand(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Check the structure of a config, expand its paths and short forms, and return its defaults.

    The defaults are the config with the overrides that choose from groups, without those that set values.
    """
    defaults = compose_groups(config.command, overrides)
    check_structure(config, defaults, overrides)
    if config.command == "export" and config.output in ("scores", "labels"):  # short for returns=
        config.returns, config.output = config.output, None
    expand_paths(config)
    find_checkpoints(config)
    return defaults
