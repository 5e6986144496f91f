"""Write CRF presets where commands find them as crf=NAME."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from src.cli.conf_folder import CONF, INSTALLED, writable_conf
from src.cli.config.paths import find_obstacle
from src.system.errors import UserError

# Presets that start with one of these lines were written by a command, and commands may replace them.
TUNED = "# Tuned by python -m src.tune_crf"
SAVED = "# Saved by python -m src.playground"


def preset_path(name: str, folder: Path | None = None) -> Path:
    """Return the path of a new preset; its folder may not exist yet.

    Args:
        name: name of the preset, as in ``crf=NAME``.
        folder: folder of presets; None for conf/crf in a checkout, or ./conf/crf with an installed package.

    Raises:
        UserError: if the name is invalid, a preset of that name was written by hand or belongs to the installed
            package, or the folder is not writable.
    """
    folder = folder or writable_conf() / "crf"
    path = folder / f"{name}.yaml"
    if not is_plain(str(name)):
        raise UserError(f"name={name}: give letters, digits, _ and - for crf=NAME")
    packaged = CONF / "crf" / path.name
    hidden = INSTALLED and packaged.exists()  # crf=NAME would find the package's preset
    if hidden or (path.exists() and not is_made_by_command(path)):
        taken = packaged if hidden else path
        raise UserError(
            f"name={name}: {taken} was not written by a command, so it is not overwritten; choose another name"
        )
    if fault := find_obstacle(folder, is_file=False):
        raise UserError(f"name={name}: {fault}; choose a folder that can be written to")
    return path


def is_plain(name: str) -> bool:
    """Tell whether ``crf=NAME`` finds a preset of this name in the folder of presets.

    Hydra does not read 2024, null and nan as strings, and does not append .yaml to a name that already ends in it.
    """
    if not re.fullmatch(r"(?!.*\.ya?ml$)\w[\w.-]{,99}", name, re.ASCII | re.IGNORECASE):
        return False
    return OverridesParser.create().parse_override(f"crf={name}").value() == name


def is_made_by_command(path: Path) -> bool:
    """Tell whether a command wrote the preset, so that a command may replace it."""
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith((TUNED, SAVED))


def preset_text(header: str, values: Mapping[str, Any]) -> str:
    """Return a preset as YAML: a comment that states its origin, and the arguments of ``DenseCRF``."""
    lines = [yaml_line(name, value) for name, value in {"_target_": "src.crf.DenseCRF", **values}.items()]
    return "\n".join([header, *lines, ""])


def yaml_line(name: str, value: Any) -> str:
    """Return a parameter as YAML; a matrix gets one line for each row."""
    if isinstance(value, list) and isinstance(value[0], list):
        return f"{name}:\n" + "\n".join(f"  - {json.dumps(row)}" for row in value)
    return f"{name}: {json.dumps(value)}"
