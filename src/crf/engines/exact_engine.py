"""Mean field with the exact kernels between all pairs of pixels: the reference for the other engines, on small images.

It takes O(pixels^2) time and, because it works in chunks, O(pixels) memory. Each kernel includes a pixel's own term and
is normalised symmetrically, D^-1/2 K D^-1/2, which is pydensecrf's default.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from src.crf.engines.engine import EngineName, WorkerKind
from src.crf.inputs import upsample_to
from src.crf.lattice.features import bilateral_features, position_features
from src.crf.mean_field import pruned_mean_field
from src.crf.parameters import Parameters

CHUNK_ENTRIES = 1 << 22  # kernel entries in memory at a time: 32 MB in float64


class ExactEngine:
    """Computes the messages by summing over all pairs of pixels."""

    name: EngineName = "exact"
    workers: WorkerKind = "one"

    def refine(self, image: Tensor, logits: Tensor, parameters: Parameters, threads: int) -> Tensor:
        """Return Q of one image, computed in float64."""
        p, classes = parameters, len(logits)
        unary = logits.reshape(classes, -1).T.double()
        smooth = exact_filter(image, p)
        q = pruned_mean_field(unary, smooth, p.iterations, p.log_threshold(classes), p.affinity)
        return q.T.reshape(logits.shape).to(logits.dtype)

    def refine_labels(
        self, image: Tensor, score_map: Tensor, stride: int, parameters: Parameters, threads: int
    ) -> Tensor:
        """Return the label map of one image: the argmax of Q from the up-sampled score map."""
        return self.refine(image, upsample_to(image, score_map, stride), parameters, threads).argmax(0)


def exact_filter(image: Tensor, parameters: Parameters) -> Callable[[Tensor], Tensor]:
    """Return a function that maps Q to the sum of w K Q over the two kernels, in float64."""
    p = parameters
    kernels = []
    if p.w1 > 0:
        kernels.append((p.w1, bilateral_features(image, p.sy, p.sx, p.srgb).double()))
    if p.w2 > 0:
        position = position_features(image.shape[1], image.shape[2], p.sg, p.sg, image.device).double()
        kernels.append((p.w2, position))
    ones = torch.ones(image[0].numel(), 1, dtype=torch.float64, device=image.device)
    terms = [(w, f, apply_kernel(f, ones).rsqrt()) for w, f in kernels]

    def smooth(q: Tensor) -> Tensor:
        return sum((w * norm * apply_kernel(f, norm * q) for w, f, norm in terms), torch.zeros_like(q))

    return smooth


def apply_kernel(
    features: Float[Tensor, "pixels dimensions"], values: Float[Tensor, "pixels channels"]
) -> Float[Tensor, "pixels channels"]:
    """Return the product of the kernel matrix of the features with the values, computed in chunks of rows."""
    rows = max(1, CHUNK_ENTRIES // len(features))
    return torch.cat(
        [
            torch.exp(-0.5 * torch.cdist(chunk, features, compute_mode="donot_use_mm_for_euclid_dist") ** 2) @ values
            for chunk in features.split(rows)
        ]
    )
