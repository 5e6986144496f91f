"""Compose a command's config in Python, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import to_absolute_path
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.check_folders import check_folders
from src.cli.check_structure import check_structure, compose_groups
from src.cli.check_values import check_values
from src.cli.conf_folder import CONF
from src.cli.error_messages import explain, explain_start
from src.cli.replay import replay_overrides
from src.cli.resolvers import register_resolvers
from src.cli.search_path import register_search_path
from src.runs.checkpoints import belongs_to_no_run, find_best_checkpoint, find_checkpoint, find_last_checkpoint
from src.system.addresses import is_address
from src.system.errors import UserError
from src.system.files import expand_path

PATHS = (
    "ckpt", "init_from", "input", "output", "storage", "baseline", "cache", "downloads", "from", "images_from",
    "examples",
    "dataset.root", "dataset.cache", "backbone.weights", "paths.data_dir", "paths.log_dir", "paths.output_dir",
)  # fmt: skip

CHECKPOINTS = ("ckpt", "init_from")
NO_PATHS = ("last", "none", "imagenet")  # values of ckpt and backbone.weights


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
    register_search_path()
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
    defaults = compose_groups(config.command, overrides)
    check_structure(config, defaults, overrides)
    expand_paths(config)
    if config.get("ckpt") == "last":
        resumes, log_dir = config.command == "train", config.paths.log_dir
        config.ckpt = str(find_last_checkpoint(log_dir, sweep_folder()) if resumes else find_best_checkpoint(log_dir))
    if config.command == "train" and isinstance(config.ckpt, str):
        config, overrides = replay_overrides(config, overrides)
        defaults = compose_groups(config.command, overrides)
        check_structure(config, defaults, overrides)
        expand_paths(config)
    check_values(config, defaults, overrides)
    check_folders(config)
    for key in CHECKPOINTS:  # last, because it may take minutes
        if is_address(config.get(key)):
            config[key] = str(find_checkpoint(config[key]))
    return config


def sweep_folder() -> str | None:
    """Return the folder of the sweep that this job belongs to; None outside a sweep."""
    return HydraConfig.get().sweep.dir if HydraConfig.get().mode == RunMode.MULTIRUN else None


def expand_paths(config: DictConfig) -> None:
    """Expand ~, environment variables and names of packaged networks in all paths that the user may set.

    With hydra.job.chdir=true, relative paths start at the folder in which the command was started.

    Raises:
        UserError: if a training should resume a network that has no run.
    """
    for key in PATHS:
        value = OmegaConf.select(config, key)
        if not isinstance(value, str) or value in NO_PATHS:
            continue
        if key == "ckpt" and config.command == "train" and belongs_to_no_run(value):
            raise UserError(f"ckpt={value}: has no run to resume; train it further with init_from={value}")
        if key in CHECKPOINTS:
            if is_address(value):  # complete() fetches it
                continue
            value = str(find_checkpoint(value))
        if key == "output" and config.command == "export" and value in ("scores", "labels"):
            config.returns, config.output = value, None
            continue
        if "~" in value or "$" in value:
            value = str(expand_path(value))
        if HydraConfig.get().job.chdir:
            value = to_absolute_path(value)
        if value != OmegaConf.select(config, key):
            OmegaConf.update(config, key, value)
