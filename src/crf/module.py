"""The CRF as a layer whose kernel weights and class compatibility can be learned."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.crf import inputs
from src.crf.engines.torch_engine import build_kernels
from src.crf.mean_field import mean_field
from src.crf.parameters import Parameters


class DenseCRFModule(nn.Module):
    """Unrolled mean field, differentiable in the logits, the two kernel weights and the compatibility matrix.

    Source: Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015.

    Args:
        classes: number of classes.
        w1, sxy, srgb, w2, sg, iterations: initial values, see ``Parameters``.

    Attributes:
        kernel_weights: (w1, w2).
        compatibility: classes x classes, the cost of the row's label beside the column's. It begins as the Potts model
            (1 off the diagonal), with which the layer computes the same as ``DenseCRF``.
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
    ) -> None:
        super().__init__()
        self.parameters_at_start = Parameters(w1, sxy, srgb, w2, sg, iterations)
        self.kernel_weights = nn.Parameter(torch.tensor([float(w1), float(w2)]))
        self.compatibility = nn.Parameter(1 - torch.eye(classes))

    def forward(
        self,
        image: Shaped[Tensor, "batch 3 height width"],
        logits: Float[Tensor, "batch classes height width"],
    ) -> Float[Tensor, "batch classes height width"]:
        """Return Q of every image in the logits' dtype; half precision is computed in float32."""
        return torch.stack([self._refine_image(*pair) for pair in zip(image, logits, strict=True)])

    def _refine_image(self, image: Tensor, logits: Tensor) -> Tensor:
        image = inputs.check_image(image)
        inputs.check_same_size(image, logits)
        if len(logits) != len(self.compatibility):
            raise ValueError(f"logits have {len(logits)} classes, the module was made for {len(self.compatibility)}")
        unary = logits.reshape(len(logits), -1).T
        if unary.dtype not in (torch.float32, torch.float64):
            unary = unary.float()
        kernels = build_kernels(image[None], self.parameters_at_start, (1, 1), unary.dtype)
        weights, compatibility = (p.to(unary.dtype) for p in (self.kernel_weights, self.compatibility))

        def message(q: Tensor) -> Tensor:
            return -sum(w * kernel.filter(q) for w, kernel in zip(weights, kernels, strict=True)) @ compatibility.T

        q = mean_field(unary, message, self.parameters_at_start.iterations)
        return q.T.reshape(logits.shape).to(logits.dtype)
