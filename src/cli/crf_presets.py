"""Write presets of the CRF where commands find them as crf=NAME."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.cli.check_folders import find_obstacle
from src.cli.conf_folder import CONF, INSTALLED, writable_conf
from src.errors import UserError

# Presets that begin with one of these lines were made by a command, and may be replaced by one.
TUNED = "# Tuned by python -m src.tune_crf"
SAVED = "# Saved by python -m src.playground"


def preset_path(name: str, folder: Path | None = None) -> Path:
    """Return the file of a new preset; its folder may not exist yet.

    Args:
        name: for ``crf=NAME``.
        folder: of presets; None for conf/crf of a checkout, or ./conf/crf for an installed package.

    Raises:
        UserError: if a preset of that name was not made by a command or belongs to an installed package, or no file
            can be made there.
    """
    folder = folder or writable_conf() / "crf"
    path = folder / f"{name}.yaml"
    if not re.fullmatch(r"\w[\w.-]*", str(name)):
        raise UserError(f"name={name}: give letters, digits, _ and - for crf=NAME")
    packaged = CONF / "crf" / path.name
    hidden = INSTALLED and packaged.exists()  # crf=NAME finds the package's preset first
    if hidden or (path.exists() and not path.read_text().startswith((TUNED, SAVED))):
        taken = packaged if hidden else path
        raise UserError(f"name={name}: {taken} was not written by a command and stays; choose another name")
    if fault := find_obstacle(folder, is_file=False):
        raise UserError(f"name={name}: {fault}; choose a folder that can be written to")
    return path


def preset_text(header: str, values: Mapping[str, Any]) -> str:
    """Return the YAML of a preset: a comment that says where it comes from, and the arguments of ``DenseCRF``."""
    lines = [yaml_line(name, value) for name, value in {"_target_": "src.crf.DenseCRF", **values}.items()]
    return "\n".join([header, *lines, ""])


def yaml_line(name: str, value: Any) -> str:
    """Return a parameter as YAML, a matrix with a line for each row."""
    if isinstance(value, list) and isinstance(value[0], list):
        return f"{name}:\n" + "\n".join(f"  - {json.dumps(row)}" for row in value)
    return f"{name}: {json.dumps(value)}"
