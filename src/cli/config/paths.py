"""Expand the paths in a config, and check that a command can write to its folders and files, before it begins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import to_absolute_path
from omegaconf import DictConfig, OmegaConf

from src.cli.config.rules import Rule
from src.cli.config.rules_by_key import rule_of
from src.cli.references import key_to_set
from src.system.addresses import is_address
from src.system.dotted_keys import walk
from src.system.errors import UserError
from src.system.files import expand_path


def expand_paths(config: DictConfig) -> None:
    """Expand ~ and environment variables in all paths that the user may set.

    With hydra.job.chdir=true, relative paths start at the folder in which the command was started.
    """
    for key, value, _ in paths_in(config):
        path = str(expand_path(value)) if "~" in value or "$" in value else value
        if HydraConfig.get().job.chdir:
            path = to_absolute_path(path)
        if path != value:
            OmegaConf.update(config, key, path)


def check_folders(config: DictConfig) -> None:
    """Check that the command can create every folder and file that it writes to.

    Raises:
        UserError: with the key, the value and the reason.
    """
    for key, value, rule in paths_in(config):
        is_file = rule.written == "file" and not (config.command == "export" and config.format == "hub")
        if rule.written and (fault := find_obstacle(Path(value), is_file)):
            raise UserError(f"{key}={value}: {fault}; choose another place")


def paths_in(config: DictConfig) -> Iterator[tuple[str, str, Rule]]:
    """Yield (key, path, rule) of each path in a config; a path that is a reference has the key that it refers to."""
    content: Any = OmegaConf.to_container(config)
    for key, _ in walk(content):
        if (rule := rule_of(key, config.command)) and rule.is_path:
            value = OmegaConf.select(config, key)
            if isinstance(value, str) and value and value not in rule.names and not is_address(value):
                yield key_to_set(content, key), value, rule


def find_obstacle(path: Path, is_file: bool) -> str:
    """Return why a file or folder cannot be created; "" if it can.

    Tests this by creating and removing a folder in the innermost existing folder of the path.
    """
    if is_file and os.path.isdir(path):
        return "is a folder, but must be a file"
    folder = path.parent if is_file else path
    try:
        while not exists(folder):
            folder = folder.parent
        os.rmdir(tempfile.mkdtemp(dir=folder))
    except OSError as error:
        return f"cannot create a folder in {folder} ({error.strerror})"
    return ""


def exists(path: Path) -> bool:
    """Tell whether a file or folder exists.

    Raises:
        OSError: if the path cannot be checked, for example because a name is too long, or is a broken link.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise
        return False
    return True
