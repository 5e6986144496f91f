"""Save the values of the sliders as a preset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.cli.crf_presets import SAVED, preset_path, preset_text
from src.system.errors import UserError
from src.system.files import write_text


def save_preset(name: str, folder: Path | None, values: Mapping[str, Any], ckpt: str, replace: bool = False) -> Path:
    """Write arguments of ``DenseCRF`` as the preset ``crf=NAME``, and return its file.

    Args:
        name: of the preset.
        folder: of all presets; None for the one where ``crf=NAME`` finds it.
        values: arguments of ``DenseCRF``.
        ckpt: the network that they were tried with, for the comment.
        replace: replace a preset that a command has made.

    Raises:
        UserError: if the name is not one, a preset of that name was not made by a command, or it cannot be written.
        FileExistsError: if there is a preset of that name, and it is not to be replaced.
    """
    path = preset_path(name, folder)
    if path.exists() and not replace:
        raise FileExistsError(f"{path}: exists already")
    try:
        write_text(path, preset_text(f"{SAVED} ckpt={' '.join(ckpt.split())}", values))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    return path
