"""The engine that runs anywhere torch does: CPU or GPU, differentiable, nothing to compile."""

from __future__ import annotations

import torch
from torch import Tensor

from src.crf.features import bilateral_features, position_features
from src.crf.inputs import upsample
from src.crf.mean_field import pruned_mean_field
from src.crf.parameters import Parameters
from src.crf.permutohedral import Lattice


class TorchEngine:
    name = "torch"
    workers = "one"

    def refine(self, image: Tensor, logits: Tensor, parameters: Parameters) -> Tensor:
        p = parameters
        kernels = [lattice.normalise(w) for w, lattice in zip((p.w1, p.w2), lattices(image, p), strict=True) if w > 0]

        def message(q: Tensor) -> Tensor:
            return sum((kernel.filter(q) for kernel in kernels[1:]), kernels[0].filter(q)) if kernels else 0 * q

        unary = logits.reshape(len(logits), -1).T.contiguous()
        q = pruned_mean_field(unary, message, p.iterations, p.prune_below(len(logits)))
        return q.T.reshape(logits.shape)

    def refine_labels(self, image: Tensor, score_map: Tensor, stride: int, parameters: Parameters) -> Tensor:
        size = (image.shape[1], image.shape[2])
        return self.refine(image, upsample(score_map, size, stride), parameters).argmax(0)


def lattices(image: Tensor, p: Parameters, dtype: torch.dtype = torch.float32) -> tuple[Lattice, Lattice]:
    """The bilateral and the Gaussian lattice of an image."""
    position = position_features(image.shape[1], image.shape[2], p.sg, p.sg, image.device)
    return Lattice(bilateral_features(image, p.sy, p.sx, p.srgb), dtype), Lattice(position, dtype)
