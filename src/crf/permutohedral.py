"""Gaussian filtering on the permutohedral lattice, in torch: any device, any float type, differentiable.

Source: Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

Keys = Int[Tensor, "points corners"]
Following = Callable[[Tensor, int], Tensor]


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
        base, order, weights = _simplices(features.float())
        self.points, self.dtype, self.device = points, dtype, features.device
        image = base.new_zeros(points) if image is None else image
        keys, following = _packed_keys(base, order, image) or _numbered_keys(base, order, image)
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


def _simplices(
    features: Float[Tensor, "points dimensions"],
) -> tuple[Int[Tensor, "coordinates points"], Int[Tensor, "coordinates points"], Float[Tensor, "corners points"]]:
    """For each point: its nearest remainder-0 vertex divided by d + 1; the coordinates by rank, largest difference
    first; the barycentric weights of its simplex's corners. Coordinates come first, so that rows are long."""
    points, d = features.shape
    # Embed in the hyperplane of d + 1 coordinates with sum 0, scaled so that the blur has unit width.
    axis = torch.arange(1, d + 1, device=features.device, dtype=torch.float32)
    scaled = features.T * (math.sqrt(2 / 3) * (d + 1) / torch.sqrt(axis * (axis + 1)))[:, None]
    tail = scaled.new_zeros(points)
    elevated = scaled.new_empty(d + 1, points)
    for i in range(d, 0, -1):
        elevated[i] = tail - i * scaled[i - 1]
        tail = tail + scaled[i - 1]
    elevated[0] = tail
    # Round each coordinate to a multiple of d + 1, then mend the sum where ranks leave 0..d.
    base = torch.round(elevated / (d + 1))
    difference = elevated - base * (d + 1)
    rank = base.sum(0).int().expand(d + 1, points).clone()
    for i in range(d + 1):
        for j in range(i + 1, d + 1):
            less = (difference[i] < difference[j]).int()
            rank[i] += less
            rank[j] += 1 - less
    wrapped = (rank < 0).int() - (rank > d).int()
    rank += wrapped * (d + 1)
    base += wrapped
    # Barycentric weights are the gaps between the sorted differences.
    rank = rank.long()
    order = torch.empty_like(rank).scatter_(0, rank, torch.arange(d + 1, device=rank.device)[:, None].expand_as(rank))
    by_rank = torch.gather((elevated - base * (d + 1)) / (d + 1), 0, order)
    gaps = by_rank[:-1] - by_rank[1:]
    return base.long(), order, torch.cat([1 + by_rank[-1:] - by_rank[:1], gaps.flip(0)])


def _packed_keys(base: Tensor, order: Tensor, image: Tensor) -> tuple[Keys, Following] | None:
    """A number for each corner; and a function that finds, for sorted numbers of vertices and a direction, the place
    of the next vertex in that direction, or their count. Packing is linear, so a step adds a constant, and its ranges
    hold every corner and neighbour. None where 63 bits do not suffice."""
    d = len(base) - 1
    low = base[:d].amin(1) - 2
    spans = (base[:d].amax(1) + 2 - low + 1) * (d + 1)
    images = int(image.max()) + 1
    if math.prod(spans.tolist()) * images >= 2**63:
        return None
    # The last coordinate counts most: it depends on one feature only, so vertices in order lie near each other.
    unit = torch.cat([spans.new_ones(1), spans[:-1].cumprod(0)])
    steps = torch.cat([unit.sum() - (d + 1) * unit, unit.sum()[None]])
    keys = [((base[:d] - low[:, None]) * (unit * (d + 1))[:, None]).sum(0) + image * spans.prod()]
    for k in range(d):
        keys.append(keys[-1] + steps[order[d - k]])

    def following(vertices: Tensor, direction: int) -> Tensor:
        wanted = vertices + steps[direction]
        place = torch.searchsorted(vertices, wanted).clamp_max_(len(vertices) - 1)
        return torch.where(vertices[place] == wanted, place, len(vertices))

    return torch.stack(keys, 1), following


def _numbered_keys(base: Tensor, order: Tensor, image: Tensor) -> tuple[Keys, Following]:
    """The same for coordinates of any size; slower, since whole rows of coordinates are compared."""
    d, points = len(base) - 1, base.shape[1]
    directions = 1 - (d + 1) * torch.eye(d + 1, d, dtype=torch.long, device=base.device)
    directions = torch.cat([directions, torch.zeros_like(directions[:, :1])], 1)
    corners = [torch.cat([base[:d].T * (d + 1), image[:, None]], 1)]
    for k in range(d):
        corners.append(corners[-1] + directions[order[d - k]])
    coordinates, keys = torch.unique(torch.stack(corners, 1).reshape(-1, d + 1), dim=0, return_inverse=True)

    def following(vertices: Tensor, direction: int) -> Tensor:
        count = len(vertices)
        both = torch.cat([coordinates, coordinates + directions[direction]])
        distinct, number = torch.unique(both, dim=0, return_inverse=True)
        owner = number.new_full((len(distinct),), count)
        owner[number[:count]] = torch.arange(count, device=number.device)
        return owner[number[count:]]

    return keys.reshape(points, d + 1), following
