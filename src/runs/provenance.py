"""Record what is needed to repeat a run."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc
from yaml import YAMLError

from src.system.address_secrets import hide_secrets
from src.system.files import write_text
from src.system.folder_lock import is_first_process

HOME = re.compile(rf"(?<![\w.~-]){re.escape(os.path.expanduser('~'))}(?![\w.-])")
CONFIG = "config.yaml"
RECORD = "environment.json"
# The packages that decide results. Loggers get their versions only: a list of all may name private packages.
PACKAGES = (
    *("torch", "lightning", "hydra-core", "torchmetrics", "albumentations", "numpy", "pydensecrf2", "wandb"),
    *("pillow", "opencv-python-headless", "scipy"),
)


def save_record(config: DictConfig) -> None:
    """Write config.yaml (resolved) and environment.json (commit, versions, command) to the run's folder."""
    if not is_first_process():
        return
    folder = Path(HydraConfig.get().runtime.output_dir)
    write_text(folder / CONFIG, OmegaConf.to_yaml(config, resolve=True))
    write_text(folder / RECORD, json.dumps(make_record(config), indent=2) + "\n")


def read_overrides(checkpoint: Path) -> list[str]:
    """Return the overrides of the run that wrote a checkpoint; an empty list if the file was moved out of its run."""
    try:
        record = json.loads((checkpoint.parent.parent / RECORD).read_text())
        return [str(override) for override in record["command"][1:]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def read_config(checkpoint: Path) -> Mapping[str, Any]:
    """Return the resolved config of the run that wrote a checkpoint; empty if the file was moved out of its run."""
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(checkpoint.parent.parent / CONFIG))
        return content if isinstance(content, dict) else {}
    except (OSError, YAMLError, OmegaConfBaseException):
        return {}


def make_record(config: DictConfig) -> dict[str, Any]:
    """Return the command, commit, uncommitted changes and versions of this run."""
    return {
        "command": [f"python -m src.{config.command}", *map(hide_secrets, HydraConfig.get().overrides.task)],
        "git_commit": run_git("rev-parse", "HEAD"),
        "git_changes": run_git("status", "--porcelain").splitlines(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": installed_versions(),
    }


def shareable_config(config: DictConfig) -> dict[str, Any]:
    """Return the resolved config, with the run's record under ``provenance``, without private values.

    Paths in the home folder start with ~. Values read from environment variables become $NAME.

    Args:
        config: an unresolved config.
    """
    OmegaConf.register_new_resolver("oc.env", hide_variable, replace=True)
    try:
        resolved: Any = OmegaConf.to_container(config, resolve=True)
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
    record = make_record(config)
    record["versions"] = {name: record["versions"].get(name) for name in PACKAGES}
    return hide_home({**resolved, "provenance": record})


def hide_variable(variable: str, *default: Any) -> Any:
    """Return $NAME instead of an environment variable's value, which stays private; the default if it is not set."""
    return f"${variable}" if variable in os.environ else oc.env(variable, *default)


def hide_home(value: Any) -> Any:
    """Return nested lists and dicts with the home folder in strings replaced with ~."""
    if isinstance(value, dict):
        return {key: hide_home(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hide_home(item) for item in value]
    return HOME.sub("~", value) if isinstance(value, str) else value


@cache
def run_git(*arguments: str) -> str:
    """Return git's output for the checkout that tracks this code; "" if there is none.

    An installed package may lie in a folder of another project's checkout, which does not track it.
    """
    file, output = Path(__file__), ""
    try:
        for command in (("ls-files", "--error-unmatch", file.name), arguments):
            done = subprocess.run(["git", *command], cwd=file.parent, capture_output=True, text=True, check=True)
            output = done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return output


@cache
def installed_versions() -> dict[str, str]:
    """Return the version of every installed package by its normalised name, sorted; of two copies, the imported one."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():  # in the order of sys.path
        about = distribution.metadata
        if about["Name"]:  # none in what a broken installation left behind
            versions.setdefault(re.sub(r"[-_.]+", "-", about["Name"]).lower(), about["Version"])
    return dict(sorted(versions.items()))
