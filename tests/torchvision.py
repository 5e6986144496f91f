"""A stand-in for torchvision, for tests of timm where torchvision is absent or does not fit the installed torch.

timm imports torchvision for its image transforms and for the type of one layer (FrozenBatchNorm2d); its networks are
built and run without it. So these tests need the names only.
"""

import enum
import functools
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest


class InterpolationMode(enum.Enum):
    """torchvision's enumeration, whose members timm looks up by name."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


class Names(MetaPathFinder, Loader):
    """Finds every module of torchvision; each name in it is an empty class."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] == "torchvision" else None

    def exec_module(self, module: ModuleType) -> None:
        @functools.cache
        def name(name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return InterpolationMode if name == "InterpolationMode" else type(name, (), {})

        module.__getattr__ = name  # type: ignore[method-assign]


@functools.cache
def import_timm() -> None:
    """Import timm, with the stand-in if torchvision cannot be imported; skip the test if timm is absent."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is an extra")
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):  # it is absent, or was built for another torch
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.meta_path.insert(0, Names())
    importlib.import_module("timm")
