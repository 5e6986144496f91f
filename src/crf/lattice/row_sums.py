"""Weighted sums of rows: all that filtering on a lattice is."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

log = logging.getLogger(__name__)


class RowSums(NamedTuple):
    """A sparse matrix as embedding_bag takes it: the rows to sum, where each sum begins, and the weights.

    length: the number of rows of every sum, if it is one for all; else 0.
    """

    rows: Int[Tensor, " entries"]
    begin: Int[Tensor, " sums"]
    weight: Float[Tensor, " entries"]
    length: int = 0

    @classmethod
    def of_length(cls, length: int, rows: Tensor, weight: Tensor) -> RowSums:
        return cls(rows, every(length, len(rows) // length, rows.device), weight, length)

    def of(self, values: Float[Tensor, "rows channels"]) -> Float[Tensor, "sums channels"]:
        """Of contiguous values; no gradients on a GPU, where a kernel in Triton sums, if that works: a whole CRF then
        takes a third to a quarter of the time (H200)."""
        if values.is_cuda and kernel_fails(values.device) is None:
            from src.crf.lattice import row_sums_kernel

            return row_sums_kernel.row_sums(values, *self)
        return embedding_bag(self.rows, values, self.begin, mode="sum", per_sample_weights=self.weight)

    def shifted(self, by: int) -> RowSums:
        return self._replace(rows=self.rows + by)

    def then(self, others: RowSums) -> RowSums:
        """These, and the others behind them."""
        begin = torch.cat([self.begin, others.begin + len(self.rows)])
        length = self.length if self.length == others.length else 0
        return RowSums(torch.cat([self.rows, others.rows]), begin, torch.cat([self.weight, others.weight]), length)

    def joined(self, others: RowSums) -> RowSums:
        """Each of these and one of the others in one sum; all of these are of one length, and all of the others."""
        rows, weight = (
            torch.cat([own.view(-1, self.length), more.view(-1, others.length)], 1).view(-1)
            for own, more in ((self.rows, others.rows), (self.weight, others.weight))
        )
        return RowSums.of_length(self.length + others.length, rows, weight)

    def in_pieces(self, longest: int) -> tuple[RowSums, RowSums]:
        """These as two: of at most `longest` rows each, and the sums of those. A GPU waits for its longest sum."""
        ends = torch.cat([self.begin[1:], self.begin.new_tensor([len(self.rows)])])
        count = (ends - self.begin + longest - 1).div(longest, rounding_mode="floor").clamp_min(1)
        first = count.cumsum(0, dtype=torch.int32) - count
        owner = torch.arange(len(count), device=count.device).repeat_interleave(count)
        number = every(1, len(owner), count.device)
        pieces = RowSums(self.rows, self.begin[owner] + longest * (number - first[owner]), self.weight)
        return pieces, RowSums(number, first, self.weight.new_ones(len(number)))


def every(step: int, count: int, device: torch.device) -> Int[Tensor, " count"]:
    return torch.arange(0, step * count, step, dtype=torch.int32, device=device)


@lru_cache
def kernel_fails(device: torch.device) -> str | None:
    """Why the kernel cannot run on a GPU, or None: Triton comes with most builds of torch, but needs a C compiler."""
    one = torch.ones(1, 1, device=device)
    try:
        from src.crf.lattice import row_sums_kernel

        row_sums_kernel.row_sums(one, every(1, 1, device), every(1, 1, device), one[0])
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # it may lack anything that a compiler needs
        reason = f"{type(error).__name__}: {error}"
        log.warning("dense CRF on %s: without Triton it takes several times as long (%s)", device, reason)
        return reason
    return None
