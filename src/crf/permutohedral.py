"""Gaussian filtering on the permutohedral lattice, in torch: any device, any float type, differentiable.

Source: Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag


class Lattice:
    """The lattice around `features` (points x dimensions): a linear map, filter(values), and its transpose.

    Every point lies in a simplex of d + 1 lattice vertices. Filtering spreads the values over these (splat),
    blurs along the d + 1 lattice directions, and gathers them again (slice).
    """

    def __init__(self, features: Float[Tensor, "points dimensions"], dtype: torch.dtype = torch.float32) -> None:
        points, d = features.shape
        keys, weights = _simplices(features.float())
        vertices, index = _unique(keys.reshape(-1, d))
        self.vertices = len(vertices)
        self.index = index.reshape(points, d + 1)
        self.weight = weights.to(dtype).contiguous()
        # Splat is a sum over the points of a vertex: entries sorted by vertex, and where each vertex begins.
        order = self.index.reshape(-1).argsort(stable=True)
        count = torch.bincount(self.index.reshape(-1), minlength=self.vertices)
        self._splat_point = order // (d + 1)
        self._splat_weight = self.weight.reshape(-1)[order].contiguous()
        self._splat_offset = count.cumsum(0) - count
        self.neighbours = _neighbours(vertices, d)
        rows = torch.ones_like(self.neighbours[0][:, :1], dtype=dtype)
        self._blur_weight = torch.cat([rows, 0.5 * rows, 0.5 * rows], 1)
        # What slicing gains over a true average at the centre of a simplex, from the paper's reference code.
        self._gain = 1 / (1 + 2.0**-d)

    def filter(self, values: Float[Tensor, "points channels"]) -> Float[Tensor, "points channels"]:
        """The filtered values. Not symmetric: the directions are blurred in a fixed order."""
        return _Filter.apply(values, self)

    def _run(self, values: Tensor, neighbours: list[Tensor]) -> Tensor:
        bag = {"mode": "sum"}
        grid = embedding_bag(
            self._splat_point, values, self._splat_offset, per_sample_weights=self._splat_weight, **bag
        )
        for near in neighbours:
            grid = torch.cat([grid, grid.new_zeros(1, grid.shape[1])])  # the row that missing neighbours point to
            grid = embedding_bag(near, grid, per_sample_weights=self._blur_weight, **bag)
        return embedding_bag(self.index, grid, per_sample_weights=self.weight, **bag) * self._gain


class _Filter(torch.autograd.Function):
    """Each direction's blur is symmetric and slice is splat transposed, so the transpose blurs in reverse order."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lattice: Lattice) -> Tensor:
        ctx.lattice = lattice
        return lattice._run(values.contiguous(), lattice.neighbours)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.lattice._run(grad.contiguous(), ctx.lattice.neighbours[::-1]), None


def _simplices(
    features: Float[Tensor, "points dimensions"],
) -> tuple[Int[Tensor, "points corners dimensions"], Float[Tensor, "points corners"]]:
    """The lattice vertices around each point (the last of their d + 1 coordinates left out: they sum to 0)
    and the barycentric weights of the point."""
    points, d = features.shape
    device = features.device
    # Embed in the hyperplane of d + 1 coordinates with sum 0, scaled so that the blur has unit width.
    axis = torch.arange(1, d + 1, device=device, dtype=torch.float32)
    scaled = features * (math.sqrt(2 / 3) * (d + 1) / torch.sqrt(axis * (axis + 1)))
    tail = torch.cat([scaled.flip(1).cumsum(1).flip(1), scaled.new_zeros(points, 1)], 1)
    elevated = tail.clone()
    elevated[:, 1:] -= axis * scaled
    # The nearest remainder-0 vertex: round each coordinate to a multiple of d + 1, then mend the sum.
    down = elevated / (d + 1)
    base = torch.round(down)
    excess = base.sum(1, keepdim=True).long()
    difference = elevated - base * (d + 1)
    rank = torch.empty_like(difference, dtype=torch.long)
    order = difference.argsort(dim=1, descending=True, stable=True)
    rank.scatter_(1, order, torch.arange(d + 1, device=device).expand(points, d + 1))
    rank = rank + excess
    wrapped = (rank < 0).long() - (rank > d).long()
    rank = rank + wrapped * (d + 1)
    base = (base.long() + wrapped) * (d + 1)
    # Barycentric weights are the gaps between the sorted differences.
    difference = (elevated - base) / (d + 1)
    by_rank = torch.empty_like(difference).scatter_(1, rank, difference)
    gaps = by_rank[:, :-1] - by_rank[:, 1:]
    wrap = 1 + by_rank[:, -1:] - by_rank[:, :1]
    weights = torch.cat([wrap, gaps.flip(1)], 1)
    corner = torch.arange(d + 1, device=device)[None, :, None]
    keys = base[:, None, :-1] + corner - (d + 1) * (rank[:, None, :-1] > d - corner).long()
    return keys, weights


def _unique(keys: Int[Tensor, "keys dimensions"]) -> tuple[Int[Tensor, "vertices dimensions"], Int[Tensor, " keys"]]:
    low = keys.amin(0)
    packed = _pack(keys, low, _spans(keys))
    if packed is None:
        return torch.unique(keys, dim=0, return_inverse=True)
    _, index = torch.unique(packed, return_inverse=True)
    vertices = keys.new_empty(int(index.max()) + 1, keys.shape[1])
    vertices[index] = keys
    return vertices, index


def _neighbours(vertices: Int[Tensor, "vertices dimensions"], d: int) -> list[Int[Tensor, "vertices 3"]]:
    """For each direction the vertex itself and its two neighbours; absent ones are number `vertices`."""
    here = torch.arange(len(vertices), device=vertices.device)
    result = []
    low = vertices.amin(0) - (d + 1)
    spans = _spans(vertices) + 2 * (d + 1)
    packed = _pack(vertices, low, spans)
    if packed is None:  # too wide for 64 bits: number the keys of all steps together instead
        return _neighbours_by_unique(vertices, d)
    sorted_keys, sorted_index = packed.sort()
    for direction in range(d + 1):
        step = torch.ones(d, dtype=torch.long, device=vertices.device)
        if direction < d:
            step[direction] -= d + 1
        near = [here]
        for sign in (1, -1):
            wanted = _pack(vertices + sign * step, low, spans)
            assert wanted is not None
            place = torch.searchsorted(sorted_keys, wanted).clamp_max(len(vertices) - 1)
            near.append(torch.where(sorted_keys[place] == wanted, sorted_index[place], len(vertices)))
        result.append(torch.stack(near, 1))
    return result


def _neighbours_by_unique(vertices: Tensor, d: int) -> list[Tensor]:
    count = len(vertices)
    here = torch.arange(count, device=vertices.device)
    result = []
    for direction in range(d + 1):
        step = torch.ones(d, dtype=torch.long, device=vertices.device)
        if direction < d:
            step[direction] -= d + 1
        both = torch.cat([vertices, vertices + step, vertices - step])
        _, number = torch.unique(both, dim=0, return_inverse=True)
        owner = torch.full((int(number.max()) + 1,), count, device=vertices.device)
        owner[number[:count]] = here
        result.append(torch.stack([here, owner[number[count : 2 * count]], owner[number[2 * count :]]], 1))
    return result


def _spans(keys: Tensor) -> Tensor:
    return keys.amax(0) - keys.amin(0) + 1


def _pack(keys: Tensor, low: Tensor, spans: Tensor) -> Tensor | None:
    """Each key as one int64, or None where 63 bits do not hold them."""
    sizes = spans.tolist()
    if math.prod(sizes) >= 2**63:
        return None
    packed = keys.new_zeros(len(keys))
    for i, size in enumerate(sizes):
        packed = packed * size + (keys[:, i] - low[i])
    return packed
