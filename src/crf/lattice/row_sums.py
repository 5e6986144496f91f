"""Weighted sums of rows, the only operation of filtering on a lattice."""

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
    """A sparse matrix in the layout of ``torch.nn.functional.embedding_bag``.

    Attributes:
        rows: the rows to sum, one sum after another.
        begin: index of the first entry of each sum.
        weight: weight of each entry.
        length: the number of rows of every sum, if it is the same for all sums; otherwise 0.
    """

    rows: Int[Tensor, " entries"]
    begin: Int[Tensor, " sums"]
    weight: Float[Tensor, " entries"]
    length: int = 0

    @classmethod
    def with_length(cls, length: int, rows: Tensor, weight: Tensor) -> RowSums:
        """Return sums of ``length`` rows each."""
        return cls(rows, multiples(length, len(rows) // length, rows.device), weight, length)

    def apply(self, values: Float[Tensor, "rows channels"]) -> Float[Tensor, "sums channels"]:
        """Return the sums; ``values`` must be contiguous.

        On a GPU with Triton, a kernel computes them, without gradients. On an H200, a whole CRF then takes a third to a
        quarter of the time.
        """
        if values.is_cuda and kernel_failure(values.device) is None:
            from src.crf.lattice import row_sums_kernel

            return row_sums_kernel.row_sums(values, *self)
        return embedding_bag(self.rows, values, self.begin, mode="sum", per_sample_weights=self.weight)

    def shift_rows(self, offset: int) -> RowSums:
        """Return these sums with ``offset`` added to the index of every row."""
        return self._replace(rows=self.rows + offset)

    def append(self, others: RowSums) -> RowSums:
        """Return these sums followed by the others."""
        begin = torch.cat([self.begin, others.begin + len(self.rows)])
        length = self.length if self.length == others.length else 0
        return RowSums(torch.cat([self.rows, others.rows]), begin, torch.cat([self.weight, others.weight]), length)

    def join(self, others: RowSums) -> RowSums:
        """Return each of these sums plus the corresponding sum of the others; both must have a fixed length."""
        rows, weight = (
            torch.cat([first.view(-1, self.length), second.view(-1, others.length)], 1).view(-1)
            for first, second in ((self.rows, others.rows), (self.weight, others.weight))
        )
        return RowSums.with_length(self.length + others.length, rows, weight)

    def split(self, max_rows: int) -> tuple[RowSums, RowSums]:
        """Return two operations with the same result: partial sums of at most ``max_rows`` rows, and sums of these.

        On a GPU, the longest sum determines the time.
        """
        ends = torch.cat([self.begin[1:], self.begin.new_tensor([len(self.rows)])])
        count = (ends - self.begin + max_rows - 1).div(max_rows, rounding_mode="floor").clamp_min(1)
        first = count.cumsum(0, dtype=torch.int32) - count
        owner = torch.arange(len(count), device=count.device).repeat_interleave(count)
        number = multiples(1, len(owner), count.device)
        pieces = RowSums(self.rows, self.begin[owner] + max_rows * (number - first[owner]), self.weight)
        return pieces, RowSums(number, first, self.weight.new_ones(len(number)))


def multiples(step: int, count: int, device: torch.device) -> Int[Tensor, " count"]:
    """Return 0, step, 2 * step, ...: ``count`` numbers."""
    return torch.arange(0, step * count, step, dtype=torch.int32, device=device)


@lru_cache
def kernel_failure(device: torch.device) -> str | None:
    """Return why the Triton kernel cannot run on a GPU, or None if it can; a failure is logged once.

    Most builds of torch include Triton, but it needs a C compiler.
    """
    value = torch.ones(1, 1, device=device)
    try:
        from src.crf.lattice import row_sums_kernel

        row_sums_kernel.row_sums(value, multiples(1, 1, device), multiples(1, 1, device), value[0])
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # a missing compiler can fail in many ways
        reason = f"{type(error).__name__}: {error}"
        log.warning("dense CRF on %s: without Triton it takes several times as long (%s)", device, reason)
        return reason
    return None
