"""Check that the config in a checkpoint names only classes of this project, before anything in it is called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from types import NoneType
from typing import Any

from torch import nn

from src.data import SegmentationDataset

# MODULE.CLASS, where the module defines networks, losses or data sets, or is a package that exports them
TRUSTED = re.compile(r"(src\.(?:models|data|training\.losses)(?:\.[a-z]\w*)*)\.([A-Z]\w*)")


def find_untrusted(config: Any) -> Iterator[str]:
    """Yield a description of everything in a config that an untrusted file must not contain.

    The file must not choose what is called or looked up. ``_target_`` may name networks, losses and data sets that
    src.models, src.training.losses or src.data define (not what they import). All other values must be numbers,
    strings, lists and mappings without OmegaConf interpolations, which can read the environment.
    """
    if isinstance(config, dict):
        if "_target_" in config and not is_own_class(config["_target_"]):
            yield f"names {config['_target_']}, which is not a class of src.models, src.training.losses or src.data"
        config = [*config.keys(), *config.values()]
    if isinstance(config, (list, tuple)):
        for value in config:
            yield from find_untrusted(value)
    elif isinstance(config, str):
        if "${" in config:
            yield f"refers to {config}; the config of a checkpoint must contain plain values only"
    elif not isinstance(config, (bool, int, float, NoneType)):
        yield f"contains a {type(config).__name__} among its hyper-parameters"


def is_own_class(target: Any) -> bool:
    """Return whether a ``_target_`` names a network or a part of one, a loss or a data set of this project."""
    match = TRUSTED.fullmatch(target) if isinstance(target, str) else None
    try:
        value = getattr(import_module(match[1]), match[2], None) if match else None
    except ImportError:
        return False
    if not isinstance(value, type) or not value.__module__.startswith("src."):
        return False
    return issubclass(value, (nn.Module, SegmentationDataset))
