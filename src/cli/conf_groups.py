"""Read the groups of conf/, the choices of each group, and the comments on keys."""

from __future__ import annotations

import os
import re
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from src.cli.conf_folder import CONF, conf_folders


def groups(command: str) -> list[str]:
    """Return the sorted groups of conf/COMMAND.yaml, from which a user may choose."""
    entries = [entry for entry in OmegaConf.load(CONF / f"{command}.yaml").defaults if isinstance(entry, DictConfig)]
    return sorted({str(group).removeprefix("optional ") for entry in entries for group in entry} - {"hydra", "paths"})


def choices(group: str) -> list[str]:
    """Return the choices of a group: the names of its YAML files, ./conf included, without bases (_NAME.yaml)."""
    return sorted({path.stem for folder in conf_folders() for path in (folder / group).glob("[!_]*.yaml")})


def choice_file(group: str, choice: str) -> Path | None:
    """Return the YAML file of a choice; None if there is none."""
    paths = (folder / group / f"{choice}.yaml" for folder in conf_folders())
    return next((path for path in paths if path.is_file()), None)


def commented_keys(path: Path) -> list[tuple[str, str, str]]:
    """Return (key, value, comment) of each key at the top level of a YAML file that has a value in its line."""
    return re.findall(r"^(\w+): (\S.*?)(?:\s+# (.*))?$", path.read_text(encoding="utf-8"), re.MULTILINE)


def is_group(key: str) -> bool:
    """Tell whether a key is a group of conf/."""
    # Path.is_dir would raise an error for a key that is too long for a file name.
    return any(os.path.isdir(folder / key) for folder in conf_folders())
