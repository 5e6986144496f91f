"""The CRF as a layer whose kernel weights, bias and class compatibility can be learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch._compile import _disable_dynamo  # torch.compiler.disable, but it loads the compiler only when called

from src.crf import inputs
from src.crf.engines.torch_engine import build_kernels
from src.crf.mean_field import mean_field_logits
from src.crf.parameters import Parameters


class DenseCRFModule(nn.Module):
    """Unrolled mean field, differentiable in the logits, the kernel weights, the bias and the compatibility matrix.

    Before training, the layer gives the same result as ``DenseCRF``.

    Source: Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015.

    Args:
        classes: number of classes.
        w1, sxy, srgb, w2, sg, iterations, bias, compatibility: initial values, see ``Parameters``.

    Attributes:
        kernel_weights: (w1, w2); negative values count as 0.
        bias: added to the scores of each class.
        compatibility: classes x classes; entry (k, l) is the cost of a pair of classes. Only the symmetric part counts.

    Raises:
        ValueError: if a value is out of range, or ``bias`` or ``compatibility`` is for another number of classes.
    """

    def __init__(
        self,
        classes: int,
        w1: float = 5.0,
        sxy: float | tuple[float, float] = 50.0,
        srgb: float = 10.0,
        w2: float = 3.0,
        sg: float = 3.0,
        iterations: int = 10,
        bias: Sequence[float] | None = None,
        compatibility: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        p = Parameters(w1, sxy, srgb, w2, sg, iterations, bias=bias, compatibility=compatibility)
        p.check_classes(classes)
        self.parameters_at_start = p
        self.kernel_weights = nn.Parameter(torch.tensor([p.w1, p.w2], dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(classes) if p.bias is None else torch.tensor(p.bias))
        self.compatibility = nn.Parameter(
            1 - torch.eye(classes) if p.compatibility is None else torch.tensor(p.compatibility)
        )

    def forward(
        self,
        image: Shaped[Tensor, "batch 3 height width"],
        logits: Float[Tensor, "batch classes height width"],
    ) -> Float[Tensor, "batch classes height width"]:
        """Return Q of every image in the logits' dtype; half precision is computed in float32."""
        return self.scores(image, logits).softmax(1).to(logits.dtype)

    @_disable_dynamo  # the size of the lattice differs between images
    def scores(
        self,
        image: Shaped[Tensor, "batch 3 height width"],
        logits: Float[Tensor, "batch classes height width"],
    ) -> Float[Tensor, "batch classes height width"]:
        """Return the logits of Q, for losses that take logits; at least float32, even inside ``torch.autocast``."""
        with torch.autocast(logits.device.type, enabled=False):
            return torch.stack([self.refined_logits(*pair) for pair in zip(image, logits, strict=True)])

    def learned(self) -> dict[str, Any]:
        """Return the learned values as plain numbers, by their names in ``Parameters``."""
        w1, w2 = self.kernel_weights.detach().clamp_min(0).tolist()
        return {"w1": w1, "w2": w2, "bias": self.bias.tolist(), "compatibility": self.symmetric_costs().tolist()}

    def symmetric_costs(self) -> Float[Tensor, "classes classes"]:
        """Return the learned compatibility, made symmetric: the cost of a pair of classes has no order."""
        return (self.compatibility + self.compatibility.T) / 2

    def refined_logits(self, image: Tensor, logits: Tensor) -> Tensor:
        """Return the logits of Q of one image."""
        image = inputs.check_image(image)
        inputs.check_same_size(image, logits)
        if len(logits) != len(self.compatibility):
            raise ValueError(f"logits have {len(logits)} classes, the module was made for {len(self.compatibility)}")
        unary = logits.reshape(len(logits), -1).T
        if unary.dtype not in (torch.float32, torch.float64):
            unary = unary.float()
        bilateral, gaussian = build_kernels(image[None], self.parameters_at_start, (1, 1), unary.dtype)
        weights, bias, costs = (
            p.to(unary.dtype) for p in (self.kernel_weights.relu(), self.bias, self.symmetric_costs())
        )

        def smooth(q: Tensor) -> Tensor:
            return weights[0] * bilateral.filter(q) + weights[1] * gaussian.filter(q)

        refined = mean_field_logits(unary + bias, smooth, self.parameters_at_start.iterations, affinity=-costs)
        return refined.T.reshape(logits.shape)
