"""The CRF as the last layer of a network in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.crf import DenseCRF, DenseCRFModule, Parameters
from src.models.geometry import pad_to_grid, padded_side, resize_aligned, score_side


class CRFLayer(nn.Module):
    """Refines a score map with a CRF, with gradients to the scores and to the CRF's parameters.

    In training, mean field runs on every ``stride``-th pixel, with kernels that are narrower by the same factor; stride
    2 takes a quarter of the time of stride 1. At test time, ``update`` gives the learned parameters to a ``DenseCRF``,
    which runs on every pixel.

    Source: Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015.

    Args:
        num_classes: number of classes.
        w1, sxy, srgb, w2, sg, bias, compatibility: initial values, see ``src.crf.Parameters``. The widths are fixed.
        iterations: mean-field updates in training.
        stride: in training, run mean field on every ``stride``-th pixel: 1, 2, 4 or 8.

    Raises:
        ValueError: if a value is out of range, or ``bias`` or ``compatibility`` is for another number of classes.
    """

    def __init__(
        self,
        num_classes: int,
        w1: float = 5.0,
        sxy: float | tuple[float, float] = 50.0,
        srgb: float = 10.0,
        w2: float = 3.0,
        sg: float = 3.0,
        iterations: int = 5,
        bias: Sequence[float] | None = None,
        compatibility: Sequence[Sequence[float]] | None = None,
        stride: int = 2,
    ) -> None:
        super().__init__()
        if stride not in (1, 2, 4, 8):
            raise ValueError(f"stride={stride}: must be 1, 2, 4 or 8")
        learned: dict[str, Any] = {"w1": w1, "w2": w2, "bias": bias, "compatibility": compatibility}
        p = Parameters(sxy=sxy, srgb=srgb, sg=sg, iterations=iterations, **learned)
        self.stride = stride
        self.widths = {"sxy": (p.sy, p.sx), "srgb": p.srgb, "sg": p.sg}
        narrower: dict[str, Any] = {"sxy": (p.sy / stride, p.sx / stride), "srgb": p.srgb, "sg": p.sg / stride}
        self.mean_field = DenseCRFModule(num_classes, iterations=iterations, **narrower, **learned)

    def forward(
        self,
        image: Shaped[Tensor, "batch 3 height width"],
        scores: Float[Tensor, "batch classes _ _"],
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Return the logits of the CRF's Q at every ``stride``-th pixel of the padded image, at least float32.

        Args:
            image: RGB, 0..255, uint8 or float.
            scores: the network's score map (logits), which is up-sampled.
        """
        size = [score_side(padded_side(side), self.stride) for side in image.shape[-2:]]
        pixels = pad_to_grid(image)[..., :: self.stride, :: self.stride]
        return self.mean_field.scores(pixels, resize_aligned(scores, size))

    def update(self, crf: DenseCRF) -> DenseCRF:
        """Return a copy of ``crf`` with the widths and the learned parameters of this layer."""
        return crf.with_parameters(**self.widths, **self.mean_field.learned())
