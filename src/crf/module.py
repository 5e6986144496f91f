"""DenseCRFModule: the CRF as a layer whose kernel weights and class compatibility are learned."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.crf import inputs
from src.crf.engines.torch_engine import kernels_of
from src.crf.mean_field import mean_field
from src.crf.parameters import Parameters


class DenseCRFModule(nn.Module):
    """Mean field unrolled, differentiable in the logits, the two kernel weights and the compatibility matrix.

    kernel_weights: (w1, w2). compatibility: classes x classes, the cost of the row's label beside the column's;
    it begins as Potts (1 off the diagonal), with which the layer computes what DenseCRF does.
    Source: Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015.
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
        """Q of every image, in the type of the logits; half types are computed in float32."""
        return torch.stack([self._one(i, scores) for i, scores in zip(image, logits, strict=True)])

    def _one(self, image: Tensor, logits: Tensor) -> Tensor:
        image = inputs.checked_image(image)
        inputs.check_same_size(image, logits)
        if len(logits) != len(self.compatibility):
            raise ValueError(f"logits have {len(logits)} classes, the module was made for {len(self.compatibility)}")
        unary = logits.reshape(len(logits), -1).T
        if unary.dtype not in (torch.float32, torch.float64):
            unary = unary.float()
        kernels = kernels_of(image[None], self.parameters_at_start, (1, 1), unary.dtype)
        weights, compatibility = (p.to(unary.dtype) for p in (self.kernel_weights, self.compatibility))

        def message(q: Tensor) -> Tensor:
            return -sum(w * kernel.filter(q) for w, kernel in zip(weights, kernels, strict=True)) @ compatibility.T

        q = mean_field(unary, message, self.parameters_at_start.iterations)
        return q.T.reshape(logits.shape).to(logits.dtype)
