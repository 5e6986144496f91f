"""Check a composed config and fill it in: the steps that the config of every command goes through."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from src.cli.config.ckpt_keys import check_checkpoints, fetch_checkpoints, find_checkpoints
from src.cli.config.paths import check_folders, expand_paths
from src.cli.config.replay import replay_overrides
from src.cli.config.structure import check_structure
from src.cli.config.values import check_values
from src.cli.recompose import recompose_defaults
from src.system.errors import UserError
from src.system.suggestions import did_you_mean

SHORT_FORMS = ("scores", "labels")  # values of export's output that stand for returns=
ONE_LETTER = 0.83  # likeness of six letters of which one is wrong; "labelling" may well be a name


def complete_config(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return a composed config, checked, with its paths and checkpoints filled in.

    A training that resumes a run also gets the overrides of that run.

    Args:
        config: the config as Hydra composed it.
        overrides: the overrides that the user gave.

    Raises:
        UserError: if an override has an unknown key or a wrong value, a checkpoint is missing, or a path is read-only.
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


def check_config(config: DictConfig, overrides: Sequence[str]) -> None:
    """Check the config of a job as ``complete_config`` does, but without resuming a run or fetching a checkpoint.

    Raises:
        UserError: as ``complete_config``.
    """
    defaults = recompose_defaults(config.command, overrides)
    check_structure(config, defaults, overrides)
    expand_output(config)
    expand_paths(config)
    if not (config.command == "train" and config.ckpt):  # its values depend on the run that it resumes
        check_values(config, defaults, overrides)
    if "last" not in (config.get("ckpt"), config.get("init_from")):
        find_checkpoints(config)
        check_checkpoints(config)
    check_folders(config)


def check_and_expand(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Check the structure of a config, expand its short forms and paths in place, and return its defaults.

    The defaults are the config with the overrides that choose from groups, without those that set values.
    """
    defaults = recompose_defaults(config.command, overrides)
    check_structure(config, defaults, overrides)
    expand_output(config)
    expand_paths(config)
    find_checkpoints(config)
    return defaults


def expand_output(config: DictConfig) -> None:
    """Replace output=scores and output=labels of export with returns=, of which they are the short form.

    Raises:
        UserError: if output is a misspelling of one of them.
    """
    if config.command != "export" or not isinstance(config.output, str):
        return
    if config.output in SHORT_FORMS:
        config.returns, config.output = config.output, None
    elif (
        config.format != "hub"  # whose output is a folder
        and config.output.isalpha()  # neither path nor FILE.onnx
        and (hint := did_you_mean(config.output, SHORT_FORMS, ONE_LETTER))
    ):
        raise UserError(f"output={config.output}:{hint} For a file of this name, write output=./{config.output}")
