"""A Triton kernel that computes weighted sums of rows on a GPU, as ``embedding_bag`` does."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# The fastest powers of two on an H200.
BLOCK = 512  # sums times channels per program
MAX_SUMS = 64  # largest number of sums per program
AT_ONCE = 4  # rows of each sum to load before waiting for any of them
WARPS = 1


def row_sums(values: Tensor, rows: Tensor, begin: Tensor, weight: Tensor, length: int = 0) -> Tensor:
    """Return out[s], the sum of weight[e] * values[rows[e]] over the entries e of sum s.

    Args:
        values: rows x channels, contiguous.
        rows: the row of each entry.
        begin: index of the first entry of each sum; a sum ends where the next one begins.
        weight: weight of each entry.
        length: the number of entries of every sum, if it is the same for all sums; otherwise 0.

    Returns:
        Sums x channels, in the dtype of the values.
    """
    sums, channels = len(begin), values.shape[1]
    out = values.new_empty(sums, channels)
    if not out.numel():
        return out
    width = triton.next_power_of_2(channels)
    height = min(MAX_SUMS, max(1, BLOCK // width))
    with torch.cuda.device_of(values):  # the thread's current device may differ
        sum_block[(triton.cdiv(sums, height),)](
            values, rows, begin, weight, out, sums, len(rows), length, channels, width, height, AT_ONCE, num_warps=WARPS
        )
    return out


@triton.jit(do_not_specialize=["sums", "entries"])  # otherwise, Triton may recompile the kernel for each image
def sum_block(
    values,
    rows,
    begin,
    weight,
    out,
    sums,
    entries,
    LENGTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    HEIGHT: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    s = tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)
    channel = tl.arange(0, WIDTH)[None, :]
    exists, inside = s < sums, channel < CHANNELS
    total = tl.zeros([HEIGHT, WIDTH], values.dtype.element_ty)
    if LENGTH > 0:
        for e in tl.static_range(LENGTH):
            total += weighted_row(values, rows, weight, s * LENGTH + e, exists, channel, inside, CHANNELS)
    else:
        entry = tl.load(begin + s, mask=exists, other=0)
        end = tl.load(begin + s + 1, mask=s + 1 < sums, other=entries)
        end = tl.where(exists, end, 0)
        remaining = tl.max(end - entry, 0)
        while remaining > 0:
            for e in tl.static_range(AT_ONCE):
                total += weighted_row(values, rows, weight, entry + e, entry + e < end, channel, inside, CHANNELS)
            entry += AT_ONCE
            remaining -= AT_ONCE
    tl.store(out + s[:, None].to(tl.int64) * CHANNELS + channel, total, mask=exists[:, None] & inside)


@triton.jit
def weighted_row(values, rows, weight, entry, live, channel, inside, CHANNELS: tl.constexpr):
    row = tl.load(rows + entry, mask=live, other=0).to(tl.int64)
    share = tl.load(weight + entry, mask=live, other=0)
    return share[:, None] * tl.load(values + row[:, None] * CHANNELS + channel, mask=live[:, None] & inside, other=0)
