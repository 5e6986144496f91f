"""The compiled engine: permutohedral lattice and fused mean field in C++ (native/), built if there is a compiler."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.crf.engines.engine import EngineName, WorkerKind
from src.crf.parameters import Parameters

native: Any = None
reason = ""
try:
    native = import_module("src.crf._native")
except ImportError as error:
    reason = f"the compiled extension is not built ({error}): install a C++ compiler, then install this package again"


class NativeEngine:
    """Runs the compiled engine on the CPU."""

    name: EngineName = "native"
    workers: WorkerKind = "threads"

    def refine(self, image: Tensor, logits: Tensor, parameters: Parameters, threads: int) -> Tensor:
        """Return Q of one image, on the CPU."""
        q = torch.empty_like(logits, device="cpu")
        self.run(image, logits, 0, parameters, threads, q)
        return q

    def refine_labels(
        self, image: Tensor, score_map: Tensor, stride: int, parameters: Parameters, threads: int
    ) -> Tensor:
        """Return the label map of one image, uint8; int64 for more than 256 classes."""
        dtype = torch.uint8 if len(score_map) <= 256 else torch.int64
        labels = torch.empty(image.shape[1:], dtype=dtype)
        self.run(image, score_map, stride, parameters, threads, labels)
        return labels

    def run(self, image: Tensor, scores: Tensor, stride: int, p: Parameters, threads: int, out: Tensor) -> None:
        """Write Q or the label map to ``out``; with a stride of 0, the scores are already at full size."""
        native.refine(
            as_array(image),
            as_array(scores),
            out.numpy(),
            stride,
            (p.w1, p.sy, p.sx, p.srgb, p.w2, p.sg),
            p.iterations,
            p.prune_below(len(scores)) if p.prune > 0 else 0.0,
            threads,
            *(() if p.affinity is None else (p.affinity.float().numpy(), float(p.affinity.max()))),
        )


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor, which may be a channels-last view, as a contiguous array.

    NumPy makes the copy, because torch would use all cores for it, in every worker.
    """
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def missing_reason() -> str | None:
    """Return why this engine cannot run, or None if it can."""
    return None if native is not None else reason


def level() -> str:
    """Return the name of the instruction set that the engine chose at run time."""
    return native.level()
