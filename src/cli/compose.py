"""Compose a command's config in Python, for notebooks and scripts."""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.check_structure import check_structure, compose_groups
from src.cli.check_values import check_values
from src.cli.conf_folder import CONF
from src.cli.explain import explain, explain_start
from src.cli.resolvers import register_resolvers
from src.cli.search_path import register_search_path
from src.errors import UserError
from src.runs.history import find_best_checkpoint
from src.system.files import expand_path

PATHS = (
    "ckpt", "init_from", "input", "output", "baseline", "cache", "downloads", "dataset.root", "dataset.cache",
    "backbone.weights", "paths.data_dir", "paths.log_dir", "paths.output_dir",
)  # fmt: skip


def compose(command: str, *overrides: str, output_dir: str | Path) -> DictConfig:
    """Return the config of ``python -m src.COMMAND OVERRIDES``, for the function that the command calls.

        metrics = train(compose("train", "head=vanilla", "trainer.max_steps=100", output_dir="logs/mine"))

    Args:
        command: such as "train".
        overrides: as on the command line.
        output_dir: folder of the run; it is created if necessary.

    Raises:
        UserError: if an override names no key or has a wrong value, or ckpt=last finds no run.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    register_resolvers()
    register_search_path()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose(command, [f"paths.output_dir='{folder}'", *overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(config)  # loggers ask it for the overrides
        OmegaConf.set_struct(config, False)
        del config["hydra"]
        OmegaConf.set_struct(config, True)
        defaults = compose_groups(command, overrides)
        check_structure(config, defaults, overrides)
        expand_paths(config)
        check_values(config, defaults, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, command, overrides)) from error
    except (ValueError, TypeError) as error:
        if line := explain_start(error, command, overrides):
            raise UserError(line) from error
        raise
    use_newest_run(config)
    return config


def expand_paths(config: DictConfig) -> None:
    """Replace ~ and environment variables in all paths that a user may give."""
    for key in PATHS:
        value = OmegaConf.select(config, key)
        if isinstance(value, str) and ("~" in value or "$" in value):
            OmegaConf.update(config, key, str(expand_path(value)))


def use_newest_run(config: DictConfig) -> None:
    """Replace ``ckpt=last`` by the best checkpoint of the newest run, for all commands but train.

    Training resumes from the last checkpoint instead, and finds it itself.

    Raises:
        UserError: if no run has a checkpoint.
    """
    if config.get("ckpt") == "last" and config.command != "train":
        config.ckpt = str(find_best_checkpoint(config.paths.log_dir))
