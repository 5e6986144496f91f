"""Gaussian filtering on the permutohedral lattice, in torch: any device, any float type, differentiable.

Source: Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from src.crf.simplices import numbered_keys, packed_keys, simplices


class Lattice:
    """The lattice around `features` (points x dimensions): a linear map, filter(values), and its transpose.

    Every point lies in a simplex of d + 1 lattice vertices. Filtering spreads the values over these (splat),
    blurs along the d + 1 lattice directions, and gathers them again (slice). Each is a sum of weighted rows.
    """

    def __init__(
        self,
        features: Float[Tensor, "points dimensions"],
        dtype: torch.dtype = torch.float32,
        image: Int[Tensor, " points"] | None = None,
    ) -> None:
        """image: which image of a batch a point is of; points of different ones share no vertex."""
        points, d = features.shape
        base, order, weights = simplices(features.float())
        self.points, self.dtype, self.device = points, dtype, features.device
        image = base.new_zeros(points) if image is None else image
        keys, following = packed_keys(base, order, image) or numbered_keys(base, order, image)
        # One sort tells the vertices, and the entries of each: splat is a sum over those.
        sorted_keys, entry = keys.reshape(-1).sort()
        is_first = torch.cat([sorted_keys.new_ones(1, dtype=torch.bool), sorted_keys[1:] != sorted_keys[:-1]])
        begin = is_first.nonzero()[:, 0]
        self.vertices = len(begin)
        vertex = is_first.cumsum(0, dtype=torch.int32) - 1
        index = torch.empty_like(vertex).scatter_(0, entry, vertex)
        weight = weights.to(dtype).T.reshape(-1)
        # What embedding_bag takes: the rows to sum, where each sum begins, and the weights. Behind the last vertex
        # comes one that no point lies at: it is 0, and stands for neighbours that are missing.
        point = entry.int().div_(d + 1, rounding_mode="trunc")
        bags = pad(begin.int(), (0, 1), value=len(entry))
        self._splat = (point, bags, weight.index_select(0, entry))
        self._slice = (index, _every(d + 1, points, entry.device), weight)
        vertices = sorted_keys[begin]
        shares = weight.new_tensor([1, 0.5, 0.5]).repeat(self.vertices + 1)
        threes = _every(3, self.vertices + 1, entry.device)
        self._blurs = [(_neighbours(following(vertices, i)), threes, shares) for i in range(d + 1)]

    def normalise(self, weight: float = 1.0) -> Lattice:
        """From now on the map is weight D^-1/2 K D^-1/2, D the row sums of the kernel K: pydensecrf's default."""
        norm = (self.filter(torch.ones(self.points, 1, dtype=self.dtype, device=self.device)) + 1e-20).rsqrt()[:, 0]
        point, begin, share = self._splat
        self._splat = (point, begin, share * norm.index_select(0, point))
        index, begin, share = self._slice
        self._slice = (index, begin, share * norm.mul(weight).repeat_interleave(len(share) // self.points))
        return self

    def filter(self, values: Float[Tensor, "points channels"]) -> Float[Tensor, "points channels"]:
        """The filtered values. Not symmetric: the directions are blurred in a fixed order."""
        return _Filter.apply(values, self)

    def _run(self, values: Tensor, blurs: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        for index, begin, weight in (self._splat, *blurs, self._slice):
            values = embedding_bag(index, values, begin, mode="sum", per_sample_weights=weight)
        return values


class _Filter(torch.autograd.Function):
    """Each direction's blur is symmetric and slice is splat transposed, so the transpose blurs in reverse order."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lattice: Lattice) -> Tensor:
        ctx.lattice = lattice
        return lattice._run(values.contiguous(), lattice._blurs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.lattice._run(grad.contiguous(), ctx.lattice._blurs[::-1]), None


def _neighbours(after: Int[Tensor, " vertices"]) -> Int[Tensor, " entries"]:
    """Every vertex, the one before and the one after it in a direction; len(after) is the vertex that is always 0.

    after: the next vertex in that direction."""
    missing = len(after)
    rows = torch.full((missing + 1, 3), missing, dtype=torch.int32, device=after.device)
    here = torch.arange(missing, dtype=torch.int32, device=after.device)
    rows[:-1, 0], rows[:-1, 2] = here, after
    rows[:, 1].scatter_(0, after, here)
    rows[-1] = missing
    return rows.reshape(-1)


def _every(step: int, count: int, device: torch.device) -> Int[Tensor, " count"]:
    return torch.arange(0, step * count, step, dtype=torch.int32, device=device)
