"""Gaussian filtering on the permutohedral lattice, in torch: any device, any float type, differentiable.

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
from src.crf.lattice.simplices import numbered_keys, packed_keys, simplices

LONGEST = {"cuda": 64}  # rows of one sum, for a kind of device; longer ones go in pieces


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
        splat = RowSums(point, bags, weight.index_select(0, entry))
        longest = LONGEST.get(self.device.type)
        self._splat: tuple[RowSums, ...] = splat.in_pieces(longest) if longest else (splat,)
        self._slice = RowSums.of_length(d + 1, index, weight)
        vertices = sorted_keys[begin]
        shares = weight.new_tensor([1, 0.5, 0.5]).repeat(self.vertices + 1)
        self._blurs = [RowSums.of_length(3, _neighbours(following(vertices, i)), shares) for i in range(d + 1)]

    def normalise(self, weight: float = 1.0) -> Lattice:
        """From now on the map is weight D^-1/2 K D^-1/2, D the row sums of the kernel K: pydensecrf's default."""
        norm = (self.filter(torch.ones(self.points, 1, dtype=self.dtype, device=self.device)) + 1e-20).rsqrt()[:, 0]
        (splat, *pieces), slices = self._splat, self._slice
        self._splat = (splat._replace(weight=splat.weight * norm.index_select(0, splat.rows)), *pieces)
        norm = norm.mul(weight).repeat_interleave(slices.length)
        self._slice = slices._replace(weight=slices.weight * norm)
        return self

    def __add__(self, other: Lattice) -> Lattice:
        """One lattice whose map is the sum of both, around the same points: fewer and longer sums, and no maps of all
        points to add."""
        both, own, others = copy(self), self.vertices + 1, other.vertices + 1
        both.vertices = own + others - 1
        (splat, *pieces), (others_splat, *others_pieces) = self._splat, other._splat
        behind = len(splat.begin)
        pieces = [a.then(b.shifted(behind)) for a, b in zip(pieces, others_pieces, strict=True)]
        both._splat = (splat.then(others_splat), *pieces)
        both._blurs = [
            (a or self._no_blur()).then((b or other._no_blur()).shifted(own))
            for a, b in zip_longest(self._blurs, other._blurs)
        ]
        both._slice = self._slice.joined(other._slice.shifted(own))
        return both

    def _no_blur(self) -> RowSums:
        return self._blurs[0]._replace(rows=_alone(self.vertices + 1, self.device).view(-1))

    def filter(self, values: Float[Tensor, "points channels"]) -> Float[Tensor, "points channels"]:
        """The filtered values. Not symmetric: the directions are blurred in a fixed order."""
        return _Filter.apply(values, self, False)

    def _run(self, values: Tensor, blurs: list[RowSums]) -> Tensor:
        for sums in (*self._splat, *blurs, self._slice):
            values = sums.of(values)
        return values


class _Filter(torch.autograd.Function):
    """Each direction's blur is symmetric and slice is splat transposed, so the transpose blurs in reverse order."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lattice: Lattice, transposed: bool) -> Tensor:
        ctx.lattice, ctx.transposed = lattice, transposed
        return lattice._run(values.contiguous(), lattice._blurs[::-1] if transposed else lattice._blurs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Filter.apply(grad, ctx.lattice, not ctx.transposed), None, None


def _neighbours(after: Int[Tensor, " vertices"]) -> Int[Tensor, " entries"]:
    """Every vertex, the one before and the one after it in a direction; len(after) is the vertex that is always 0.

    after: the next vertex in that direction."""
    missing = len(after)
    here = torch.arange(missing, dtype=torch.int32, device=after.device)
    rows = _alone(missing + 1, after.device)
    rows[:-1, 2] = after
    rows[:, 1].scatter_(0, after, here)
    rows[-1] = missing
    return rows.view(-1)


def _alone(count: int, device: torch.device) -> Int[Tensor, "vertices 3"]:
    """Every vertex with the last one, which is always 0, for its neighbours: a blur of these changes nothing."""
    rows = torch.full((count, 3), count - 1, dtype=torch.int32, device=device)
    rows[:, 0] = torch.arange(count, device=device)
    return rows
