"""Check that a command can write to the folders and files that its config names, before it begins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.cli.argument_keys import key_to_set
from src.system.dotted_keys import walk
from src.system.errors import UserError

# In these parts of a config, keys with these names are output paths. Data sets use the same names for input paths, and
# check them themselves.
PARTS = ("paths", "callbacks", "logger", "trainer", "output", "cache", "storage")
FOLDERS = ("folder", "dirpath", "save_dir", "default_root_dir", "output_dir", "output", "cache")
FILES = ("path", "storage")


def check_folders(config: DictConfig) -> None:
    """Check that the command can create every folder and file that it writes to.

    Raises:
        UserError: with the key, the value and the reason.
    """
    for key, value, is_file in paths_to_write(config):
        if fault := find_obstacle(Path(value), is_file):
            raise UserError(f"{key}={value}: {fault}; choose another place")


def paths_to_write(config: DictConfig) -> Iterator[tuple[str, str, bool]]:
    """Yield (key, path, is_file) for each output path in a config."""
    unresolved: Any = OmegaConf.to_container(config)
    content: Any = OmegaConf.to_container(config, resolve=True)
    for key, value in walk(content):
        part, name = key.partition(".")[0], key.rpartition(".")[2]
        if part in PARTS and name in FOLDERS + FILES and isinstance(value, str) and value:
            is_file = name in FILES or (name == "output" and config.command == "export" and config.format != "hub")
            yield key_to_set(unresolved, key), value, is_file


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
    except FileNotFoundError:
        if path.is_symlink():
            raise
        return False
    return True
