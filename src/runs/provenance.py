"""What it takes to make a run again, saved beside its results."""

import json
import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

from src.runs.folder import is_first_process
from src.system.files import write_text

HOME = re.compile(rf"(?<![\w.~-]){re.escape(os.path.expanduser('~'))}(?![\w.-])")
PACKAGES = ("torch", "lightning", "hydra-core", "torchmetrics", "albumentations", "numpy", "pydensecrf2", "wandb")


def save_record(config: DictConfig) -> None:
    """Write config.yaml (resolved) and environment.json (commit, versions, command) to the run's folder."""
    if not is_first_process():
        return
    folder = Path(HydraConfig.get().runtime.output_dir)
    write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_text(folder / "environment.json", json.dumps(record(config), indent=2) + "\n")


def record(config: DictConfig) -> dict[str, Any]:
    """Command, commit, changes to it, versions."""
    return {
        "command": [f"python -m src.{config.command}", *HydraConfig.get().overrides.task],
        "git_commit": git("rev-parse", "HEAD"),
        "git_changes": git("status", "--porcelain").splitlines(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def shareable(config: DictConfig) -> dict[str, Any]:
    """The config, resolved, and its record under ``provenance``, as loggers may send them to a server.

    Paths of the home folder begin with ~; what the config reads from an environment variable is $NAME.

    Args:
        config: not resolved yet.
    """
    OmegaConf.register_new_resolver("oc.env", named, replace=True)
    try:
        resolved: Any = OmegaConf.to_container(config, resolve=True)
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
    return without_home({**resolved, "provenance": record(config)})


def named(variable: str, *default: Any) -> Any:
    return f"${variable}" if variable in os.environ else oc.env(variable, *default)


def without_home(value: Any) -> Any:
    """Nested lists and dicts of strings, with ~ for the home folder wherever a path begins with it."""
    if isinstance(value, dict):
        return {key: without_home(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_home(item) for item in value]
    return HOME.sub("~", value) if isinstance(value, str) else value


@cache
def git(*arguments: str) -> str:
    """What git says of the code's own checkout; empty outside one."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
