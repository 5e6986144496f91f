"""Find, check and fetch the files that the keys ckpt and init_from stand for."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from src.cli.conf_groups import choice_file, commented_keys
from src.runs.checkpoints import (
    NO_CHECKPOINT,
    belongs_to_no_run,
    find_best_checkpoint,
    find_checkpoint,
    find_last_checkpoint,
    has_version,
    is_requeued,
    why_no_file,
)
from src.runs.networks import network_names
from src.system.addresses import is_address
from src.system.errors import UserError
from src.system.suggestions import did_you_mean

KEYS = ("ckpt", "init_from")
PLACEHOLDER = "CKPT"  # init_from of the recipes that start from a trained network


def find_checkpoints(config: DictConfig) -> None:
    """Replace "last", names of packaged networks and folders of exported ones with the paths of their files.

    Raises:
        UserError: if a training should resume a network that has no run, or "last" finds no run.
    """
    ckpt, trains = config.get("ckpt"), config.command == "train"
    if trains and isinstance(ckpt, str) and belongs_to_no_run(ckpt):
        raise UserError(f"ckpt={ckpt}: has no run to resume; train it further with init_from={ckpt}")
    for key in KEYS:
        if config.get(key) == "last":
            find = find_last_checkpoint if trains and key == "ckpt" else find_best_checkpoint
            config[key] = str(find(config.paths.log_dir, key, sweep_folder()))
        if isinstance(config.get(key), str) and not is_address(config[key]):
            config[key] = str(find_checkpoint(config[key]))


def sweep_folder() -> str | None:
    """Return the folder of the sweep that this job belongs to; None outside a sweep."""
    return HydraConfig.get().sweep.dir if HydraConfig.get().mode == RunMode.MULTIRUN else None


def require_checkpoint(config: DictConfig) -> None:
    """Check that a command that uses a trained network has a ckpt; a training needs none.

    Raises:
        UserError: with the checkpoints to choose from.
    """
    if config.command != "train" and "ckpt" in config and not config.ckpt:
        raise UserError(NO_CHECKPOINT)


def check_checkpoints(config: DictConfig) -> None:
    """Check that the files of ckpt and init_from exist; for ckpt, its previous version is enough.

    Raises:
        UserError: with the key and the file.
    """
    ckpt, init_from = config.get("ckpt"), config.get("init_from")
    if is_requeued():  # the job resumes from its own checkpoint
        return
    if ckpt and not is_address(ckpt) and not has_version(Path(ckpt)):
        remedy = (
            "give the best.ckpt or last.ckpt of a run, last for the newest, an address, or a network that comes with "
            f"the package: {', '.join(network_names())}"
        )
        raise UserError(f"ckpt={ckpt}: {explain_missing_file(ckpt, remedy)}")
    if init_from and not ckpt and not is_address(init_from) and not Path(init_from).is_file():
        if init_from == PLACEHOLDER:
            raise UserError(f"init_from={PLACEHOLDER} is needed: {describe_needed_network()}")
        remedy = "give the checkpoint of a trained network, or last for the best of the newest training run"
        raise UserError(f"init_from={init_from}: {explain_missing_file(init_from, remedy)}")


def describe_needed_network() -> str:
    """Return which network a recipe starts from: the comment on its ``init_from: CKPT``."""
    path = choice_file("experiment", str(HydraConfig.get().runtime.choices.get("experiment")))
    comments = [comment for key, _, comment in commented_keys(path) if key == "init_from"] if path else []
    return " ".join(comments) or "the checkpoint of a trained network"


def explain_missing_file(path: str, remedy: str) -> str:
    """Return that a path is no checkpoint, the name that it may mean, and the remedy."""
    hint = "" if Path(path).is_dir() else did_you_mean(path, ["last", *network_names()])
    return f"{why_no_file(path)}.{hint} {remedy[0].upper()}{remedy[1:]}" if hint else f"{why_no_file(path)}; {remedy}"


def fetch_checkpoints(config: DictConfig) -> None:
    """Fetch the checkpoints that are addresses, and replace these with the paths of the copies; may take minutes."""
    for key in KEYS:
        if is_address(config.get(key)):
            try:
                config[key] = str(find_checkpoint(config[key]))
            except UserError as error:
                raise UserError(f"{key}={error}") from error
