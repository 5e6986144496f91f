"""OmegaConf resolvers: functions that the YAML files in conf/ call."""

import os
import re

from omegaconf import OmegaConf

from src.system.address_secrets import hide_secrets
from src.system.files import expand_path


def register_resolvers() -> None:
    """Register the resolvers; every process that composes a config must call this."""
    OmegaConf.register_new_resolver("slug", slug, replace=True)
    OmegaConf.register_new_resolver("log_folder", log_folder, replace=True)
    OmegaConf.register_new_resolver("array_task", array_task, replace=True)
    OmegaConf.register_new_resolver("averaging_start", averaging_start, replace=True)


def slug(overrides: str) -> str:
    """Return overrides as part of a folder's name: short, without special characters, home folder, passwords."""
    shown = hide_secrets(overrides).replace(os.path.expanduser("~/"), "")
    return re.sub(r"[^\w.+]+", "-", shown)[:100].strip("-") or "default"


def log_folder(path: object) -> str:
    """Return ``paths.log_dir`` with ~ and environment variables expanded.

    Raises:
        ValueError: if it is not a string, or empty.
    """
    if not isinstance(path, str) or not path:
        raise ValueError(f"paths.log_dir={path}: must be the path of a folder, such as paths.log_dir=logs")
    return str(expand_path(path))


def array_task() -> str:
    """Return a suffix for the run's folder in a task of a SLURM array, such as "_7"; "" elsewhere.

    Without it, tasks that start in the same second with the same overrides would share a folder.
    """
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"_{task}" if task else ""


def averaging_start(share: float, steps: int) -> int:
    """Return the step after which callbacks=swa averages the weights.

    Args:
        share: fraction of the run before averaging starts, in 0..1.
        steps: length of the run; -1 if unlimited.

    Raises:
        ValueError: if the length is unlimited, or no number.
    """
    if not isinstance(steps, int):
        raise ValueError(f"trainer.max_steps={steps}: must be a whole number, such as trainer.max_steps=6000")
    if steps < 0:
        key = "callbacks.weight_averaging.avg_fn.start"
        raise ValueError(f"trainer.max_steps=-1: callbacks=swa needs the length of the run; set it, or {key}")
    return round(share * steps)
