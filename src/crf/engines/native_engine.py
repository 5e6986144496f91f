"""The compiled engine: permutohedral lattice and fused mean field in C++ (native/), built where there is a compiler."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.crf.parameters import Parameters

_native: Any = None
_reason = ""
try:
    _native = import_module("src.crf._native")
except ImportError as error:
    _reason = f"the compiled extension is not there ({error}): install with a C++ compiler at hand to build it"


class NativeEngine:
    """Exact (prune = 0) or with pruned classes; the CPU. `threads` share one image; a pool gives each its own."""

    name = "native"
    workers = "threads"

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def refine(self, image: Tensor, logits: Tensor, parameters: Parameters) -> Tensor:
        q = torch.empty_like(logits, device="cpu")
        self._run(image, logits, 0, parameters, q)
        return q

    def refine_labels(self, image: Tensor, score_map: Tensor, stride: int, parameters: Parameters) -> Tensor:
        kind = torch.uint8 if len(score_map) <= 256 else torch.int64
        labels = torch.empty(image.shape[1:], dtype=kind)
        self._run(image, score_map, stride, parameters, labels)
        return labels

    def _run(self, image: Tensor, scores: Tensor, stride: int, p: Parameters, out: Tensor) -> None:
        _native.refine(
            _array(image),
            _array(scores),
            out.numpy(),
            stride,
            (p.w1, p.sy, p.sx, p.srgb, p.w2, p.sg),
            p.iterations,
            p.prune_below(len(scores)) if p.prune > 0 else 0.0,
            self.threads,
        )


def _array(tensor: Tensor) -> np.ndarray:
    """By rows. An image may be a view, channels last: torch would copy it with all cores' threads, in every worker."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def missing() -> str | None:
    """Why this engine cannot run, or None if it can."""
    return None if _native is not None else _reason


def level() -> str:
    """The instruction set chosen at run time."""
    return _native.level()
