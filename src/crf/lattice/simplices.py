"""The simplex of the permutohedral lattice that contains each point, and a key for every vertex of a simplex."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Keys = Int[Tensor, "points corners"]
FindNext = Callable[[Tensor, int], Tensor]


def find_simplices(
    features: Float[Tensor, "points dimensions"],
) -> tuple[Int[Tensor, "coordinates points"], Int[Tensor, "coordinates points"], Float[Tensor, "corners points"]]:
    """Return the simplex of each point.

    Coordinates are the first dimension of each tensor, so that rows are long.

    Returns:
        For each point, the nearest remainder-0 vertex, divided by d + 1; the indices of the point's coordinates, sorted
        by the difference from that vertex, the largest first; and the barycentric weights of the simplex's corners.
    """
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
    # Round each coordinate to a multiple of d + 1, then correct the sum where ranks are not in 0..d.
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


def pack_keys(base: Tensor, order: Tensor, image: Tensor) -> tuple[Keys, FindNext] | None:
    """Return a key for every corner, its coordinates packed into one integer; None if 63 bits are not enough.

    Packing is linear, so a step along a direction adds a constant to a key. The ranges of the coordinates include all
    corners and their neighbours.

    Args:
        base, order: the first two results of ``find_simplices``.
        image: index of each point's image in the batch.

    Returns:
        The keys, and a function that takes the sorted keys of all vertices and a direction, and returns the index of
        each vertex's next vertex in that direction, or the number of vertices if there is none.
    """
    d = len(base) - 1
    low = base[:d].amin(1) - 2
    spans = (base[:d].amax(1) + 2 - low + 1) * (d + 1)
    images = int(image.max()) + 1
    if math.prod(spans.tolist()) * images >= 2**63:
        return None
    # The last coordinate is the most significant: it depends on only one feature, so successive vertices are close.
    unit = torch.cat([spans.new_ones(1), spans[:-1].cumprod(0)])
    steps = torch.cat([unit.sum() - (d + 1) * unit, unit.sum()[None]])
    keys = [((base[:d] - low[:, None]) * (unit * (d + 1))[:, None]).sum(0) + image * spans.prod()]
    for k in range(d):
        keys.append(keys[-1] + steps[order[d - k]])

    def find_next(vertices: Tensor, direction: int) -> Tensor:
        target = vertices + steps[direction]
        index = torch.searchsorted(vertices, target).clamp_max_(len(vertices) - 1)
        return torch.where(vertices[index] == target, index, len(vertices))

    return torch.stack(keys, 1), find_next


def number_keys(base: Tensor, order: Tensor, image: Tensor) -> tuple[Keys, FindNext]:
    """Return the same as ``pack_keys`` for coordinates of any size; slower, because it compares rows of coordinates."""
    d, points = len(base) - 1, base.shape[1]
    directions = 1 - (d + 1) * torch.eye(d + 1, d, dtype=torch.long, device=base.device)
    directions = torch.cat([directions, torch.zeros_like(directions[:, :1])], 1)
    corners = [torch.cat([base[:d].T * (d + 1), image[:, None]], 1)]
    for k in range(d):
        corners.append(corners[-1] + directions[order[d - k]])
    coordinates, keys = torch.unique(torch.stack(corners, 1).reshape(-1, d + 1), dim=0, return_inverse=True)

    def find_next(vertices: Tensor, direction: int) -> Tensor:
        count = len(vertices)
        both = torch.cat([coordinates, coordinates + directions[direction]])
        distinct, number = torch.unique(both, dim=0, return_inverse=True)
        owner = number.new_full((len(distinct),), count)
        owner[number[:count]] = torch.arange(count, device=number.device)
        return owner[number[count:]]

    return keys.reshape(points, d + 1), find_next
