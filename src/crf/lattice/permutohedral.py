"""A differentiable Gaussian filter on the permutohedral lattice, for any device and float dtype.

Source: Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
"""

from __future__ import annotations

from copy import copy
from itertools import zip_longest
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from src.crf.lattice.row_sums import RowSums
from src.crf.lattice.simplices import find_simplices, number_keys, pack_keys

MAX_ROWS = {"cuda": 64}  # largest number of rows in a sum, by device type; larger sums are split


class Lattice:
    """The permutohedral lattice around points in feature space, as a linear map from values to filtered values.

    Every point lies in a simplex of d + 1 lattice vertices. Filtering spreads the values to these vertices (splat),
    blurs along the d + 1 lattice directions, and gathers the values again (slice). Each step is a weighted sum of rows.

    Args:
        features: points x dimensions.
        dtype: dtype of the values to filter.
        image: index of each point's image in the batch; points of different images share no vertices. None for a
            single image.
    """

    def __init__(
        self,
        features: Float[Tensor, "points dimensions"],
        dtype: torch.dtype = torch.float32,
        image: Int[Tensor, " points"] | None = None,
    ) -> None:
        points, d = features.shape
        base, order, weights = find_simplices(features.float())
        self.points, self.dtype, self.device = points, dtype, features.device
        image = base.new_zeros(points) if image is None else image
        keys, find_next = pack_keys(base, order, image) or number_keys(base, order, image)
        # One sort finds the vertices and the entries of each vertex, which splat sums.
        sorted_keys, entry = keys.reshape(-1).sort()
        is_first = torch.cat([sorted_keys.new_ones(1, dtype=torch.bool), sorted_keys[1:] != sorted_keys[:-1]])
        begin = is_first.nonzero()[:, 0]
        self.vertices = len(begin)
        vertex = is_first.cumsum(0, dtype=torch.int32) - 1
        index = torch.empty_like(vertex).scatter_(0, entry, vertex)
        weight = weights.to(dtype).T.reshape(-1)
        # An extra last vertex without points is always 0. It stands for missing neighbours.
        point = entry.int().div_(d + 1, rounding_mode="trunc")
        bags = pad(begin.int(), (0, 1), value=len(entry))
        splat = RowSums(point, bags, weight.index_select(0, entry))
        max_rows = MAX_ROWS.get(self.device.type)
        self.splat: tuple[RowSums, ...] = splat.split(max_rows) if max_rows else (splat,)
        self.slice = RowSums.with_length(d + 1, index, weight)
        vertices = sorted_keys[begin]
        shares = weight.new_tensor([1, 0.5, 0.5]).repeat(self.vertices + 1)
        self.blurs = [RowSums.with_length(3, with_neighbours(find_next(vertices, i)), shares) for i in range(d + 1)]

    def normalise(self, weight: float = 1.0) -> Lattice:
        """Replace the map K by weight D^-1/2 K D^-1/2, where D is the diagonal of K's row sums, and return the lattice.

        This is pydensecrf's default.
        """
        norm = (self.filter(torch.ones(self.points, 1, dtype=self.dtype, device=self.device)) + 1e-20).rsqrt()[:, 0]
        (splat, *pieces), slices = self.splat, self.slice
        self.splat = (splat._replace(weight=splat.weight * norm.index_select(0, splat.rows)), *pieces)
        norm = norm.mul(weight).repeat_interleave(slices.length)
        self.slice = slices._replace(weight=slices.weight * norm)
        return self

    def __add__(self, other: Lattice) -> Lattice:
        """Return one lattice whose map is the sum of two maps around the same points.

        It is faster than adding two results, because it computes fewer and longer sums.
        """
        both, first_count, second_count = copy(self), self.vertices + 1, other.vertices + 1
        both.vertices = first_count + second_count - 1
        (splat, *pieces), (others_splat, *others_pieces) = self.splat, other.splat
        offset = len(splat.begin)
        pieces = [a.append(b.shift_rows(offset)) for a, b in zip(pieces, others_pieces, strict=True)]
        both.splat = (splat.append(others_splat), *pieces)
        both.blurs = [
            (a or self.identity_blur()).append((b or other.identity_blur()).shift_rows(first_count))
            for a, b in zip_longest(self.blurs, other.blurs)
        ]
        both.slice = self.slice.join(other.slice.shift_rows(first_count))
        return both

    def identity_blur(self) -> RowSums:
        """Return a blur that leaves every vertex as it is, for a lattice with fewer directions than another."""
        return self.blurs[0]._replace(rows=without_neighbours(self.vertices + 1, self.device).view(-1))

    def filter(self, values: Float[Tensor, "points channels"]) -> Float[Tensor, "points channels"]:
        """Return the filtered values; the map is not symmetric, because the directions are blurred in a fixed order."""
        return LatticeFilter.apply(values, self, False)

    def run(self, values: Tensor, blurs: list[RowSums]) -> Tensor:
        """Return the values after splat, these blurs and slice."""
        for sums in (*self.splat, *blurs, self.slice):
            values = sums.apply(values)
        return values


class LatticeFilter(torch.autograd.Function):
    """The lattice's map, whose gradient is the transposed map.

    The blur along each direction is symmetric, and slice is the transpose of splat. So the transposed map is the same
    map with the directions in reverse order.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, lattice: Lattice, transposed: bool) -> Tensor:
        ctx.lattice, ctx.transposed = lattice, transposed
        return lattice.run(values.contiguous(), lattice.blurs[::-1] if transposed else lattice.blurs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return LatticeFilter.apply(grad, ctx.lattice, not ctx.transposed), None, None


def with_neighbours(following: Int[Tensor, " vertices"]) -> Int[Tensor, " entries"]:
    """Return every vertex with its two neighbours in a direction, three entries per vertex.

    Args:
        following: index of the next vertex in that direction; if there is none, len(following), the vertex that is
            always 0.
    """
    missing = len(following)
    vertices = torch.arange(missing, dtype=torch.int32, device=following.device)
    rows = without_neighbours(missing + 1, following.device)
    rows[:-1, 2] = following
    rows[:, 1].scatter_(0, following, vertices)
    rows[-1] = missing
    return rows.view(-1)


def without_neighbours(count: int, device: torch.device) -> Int[Tensor, "vertices 3"]:
    """Return every vertex with the last vertex, which is always 0, as both neighbours."""
    rows = torch.full((count, 3), count - 1, dtype=torch.int32, device=device)
    rows[:, 0] = torch.arange(count, device=device)
    return rows
