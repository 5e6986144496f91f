"""Read and write networks in safetensors, a format that holds tensors and texts only, and no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from src.system.errors import UserError

PARTS = "hyper_parameters"  # the metadata that holds the network's configuration, as JSON


def write_safetensors(path: Path, state: Mapping[str, Tensor], parts: Mapping[str, Any]) -> None:
    """Write weights, with the configuration of their network."""
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    path.write_bytes(save(tensors, {"format": "pt", PARTS: json.dumps(parts)}))


def read_safetensors(path: Path) -> dict[str, Any]:
    """Return ``state_dict`` and, if the file has it, ``hyper_parameters``, as a checkpoint of a run has them.

    Raises:
        UserError: if the file cannot be read, or the package that reads it is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f'{path}: needs safetensors: pip install "deeplab-v1[hub]"') from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            texts = file.metadata() or {}
        state = load_file(path)
        parts = json.loads(texts[PARTS]) if PARTS in texts else None
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as safetensors ({error})") from error
    return {"state_dict": state, **({PARTS: parts} if parts is not None else {})}
