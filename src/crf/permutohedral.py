"""Gaussian filtering on the permutohedral lattice, in torch: any device, any float type, differentiable.

Source: Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
"""

from __future__ import annotations

from copy import copy
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from src.crf.simplices import numbered_keys, packed_keys, simplices


class _Sums(NamedTuple):
    """What embedding_bag takes: the rows to sum, where each sum begins, and the weights."""

    rows: Int[Tensor, " entries"]
    begin: Int[Tensor, " sums"]
    weight: Float[Tensor, " entries"]

    def shifted(self, by: int) -> _Sums:
        return self._replace(rows=self.rows + by)

    def then(self, others: _Sums) -> _Sums:
        """These, and the others behind them."""
        begin = torch.cat([self.begin, others.begin + len(self.rows)])
        return _Sums(torch.cat([self.rows, others.rows]), begin, torch.cat([self.weight, others.weight]))

    def joined(self, others: _Sums) -> _Sums:
        """Each of these and one of the others in one sum; all of these are of one length, and all of the others."""
        rows, weight = (
            torch.cat([own.view(len(self.begin), -1), more.view(len(self.begin), -1)], 1)
            for own, more in ((self.rows, others.rows), (self.weight, others.weight))
        )
        return _Sums(rows.view(-1), _every(rows.shape[1], len(rows), rows.device), weight.view(-1))


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
        # Behind the last vertex comes one that no point lies at: it is 0, and stands for neighbours that are missing.
        point = entry.int().div_(d + 1, rounding_mode="trunc")
        bags = pad(begin.int(), (0, 1), value=len(entry))
        self._splat = _Sums(point, bags, weight.index_select(0, entry))
        self._slice = _Sums(index, _every(d + 1, points, entry.device), weight)
        vertices = sorted_keys[begin]
        shares = weight.new_tensor([1, 0.5, 0.5]).repeat(self.vertices + 1)
        threes = _every(3, self.vertices + 1, entry.device)
        self._blurs = [_Sums(_neighbours(following(vertices, i)), threes, shares) for i in range(d + 1)]

    def normalise(self, weight: float = 1.0) -> Lattice:
        """From now on the map is weight D^-1/2 K D^-1/2, D the row sums of the kernel K: pydensecrf's default."""
        norm = (self.filter(torch.ones(self.points, 1, dtype=self.dtype, device=self.device)) + 1e-20).rsqrt()[:, 0]
        splat, slices = self._splat, self._slice
        self._splat = splat._replace(weight=splat.weight * norm.index_select(0, splat.rows))
        norm = norm.mul(weight).repeat_interleave(len(slices.rows) // self.points)
        self._slice = slices._replace(weight=slices.weight * norm)
        return self

    def __add__(self, other: Lattice) -> Lattice:
        """One lattice whose map is the sum of both, around the same points: fewer and longer sums, and no maps of all
        points to add."""
        both, own, others = copy(self), self.vertices + 1, other.vertices + 1
        both.vertices = own + others - 1
        both._splat = self._splat.then(other._splat)
        both._blurs = [
            (a or _as_they_are(own, self)).then((b or _as_they_are(others, other)).shifted(own))
            for a, b in zip_longest(self._blurs, other._blurs)
        ]
        both._slice = self._slice.joined(other._slice.shifted(own))
        return both

    def filter(self, values: Float[Tensor, "points channels"]) -> Float[Tensor, "points channels"]:
        """The filtered values. Not symmetric: the directions are blurred in a fixed order."""
        return _Filter.apply(values, self)

    def _run(self, values: Tensor, blurs: list[_Sums]) -> Tensor:
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


def _as_they_are(rows: int, like: Lattice) -> _Sums:
    every = _every(1, rows, like.device)
    return _Sums(every, every, torch.ones(rows, dtype=like.dtype, device=like.device))


def _every(step: int, count: int, device: torch.device) -> Int[Tensor, " count"]:
    return torch.arange(0, step * count, step, dtype=torch.int32, device=device)
