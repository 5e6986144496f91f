"""Where points lie in the permutohedral lattice: their simplices, and a number for every vertex of these."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Keys = Int[Tensor, "points corners"]
Following = Callable[[Tensor, int], Tensor]


def simplices(
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


def packed_keys(base: Tensor, order: Tensor, image: Tensor) -> tuple[Keys, Following] | None:
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


def numbered_keys(base: Tensor, order: Tensor, image: Tensor) -> tuple[Keys, Following]:
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
