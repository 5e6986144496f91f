"""Read files of torch.save, such as checkpoints, or of safetensors, without running code that they might hold."""

import errno
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from src.models.weights.safetensors_file import read_safetensors
from src.system.errors import UserError
from src.system.weight_files import NOT_TORCH, find_fault


def read_state(path: Path) -> Mapping[str, Any]:
    """Return the content of a file of weights on the CPU, without running any code that it might hold.

    Raises:
        UserError: if it cannot be read, or does not contain a mapping.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise UserError(f"{path}: cannot be read as weights ({why_not_loaded(path, error)})") from error
    if not isinstance(state, Mapping):
        raise UserError(f"{path}: holds {type(state).__name__}, not weights by name")
    return state


def why_not_loaded(path: Path, error: Exception) -> str:
    """Return why ``torch.load`` failed, without its advice to allow code in the file to run."""
    if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:  # EINVAL: a seek by what is torn
        return error.strerror
    if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it holds {found[1]}, which might run code and is not loaded; save the network's state_dict() alone"
    if fault := find_fault(path):
        return fault if fault in NOT_TORCH else f"{fault}; copy it again"
    if isinstance(error, pickle.UnpicklingError):
        return NOT_TORCH[0]
    text = re.sub(r"^\[enforce fail at [^\]]*\][\s.]*", "", str(error))  # a place in PyTorch's source
    reason = (text or type(error).__name__).splitlines()[0].partition(". ")[0]
    return f"damaged, or not written by torch.save: {reason}; copy it again"
