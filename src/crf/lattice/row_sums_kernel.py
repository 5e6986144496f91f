"""Weighted sums of rows on a GPU, as embedding_bag computes them."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# On an H200, of powers of two, these take the least time.
BLOCK = 512  # sums times channels of a program
TALLEST = 64  # sums of a program, however narrow
AT_ONCE = 4  # rows of each sum that it loads before it waits for any
WARPS = 1


def row_sums(values: Tensor, rows: Tensor, begin: Tensor, weight: Tensor, length: int = 0) -> Tensor:
    """out[s] = the sum over entries e of s of weight[e] values[rows[e]]; those of s begin at begin[s].

    values: contiguous. length: the number of entries of every sum, if it is one for all.
    """
    sums, channels = len(begin), values.shape[1]
    out = values.new_empty(sums, channels)
    if not out.numel():
        return out
    width = triton.next_power_of_2(channels)
    height = min(TALLEST, max(1, BLOCK // width))
    with torch.cuda.device_of(values):  # the thread's current device may be another
        _row_sums[(triton.cdiv(sums, height),)](
            values, rows, begin, weight, out, sums, len(rows), length, channels, width, height, AT_ONCE, num_warps=WARPS
        )
    return out


@triton.jit(do_not_specialize=["sums", "entries"])  # or every image may be compiled for anew
def _row_sums(
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
            total += _weighted_row(values, rows, weight, s * LENGTH + e, exists, channel, inside, CHANNELS)
    else:
        entry = tl.load(begin + s, mask=exists, other=0)
        end = tl.load(begin + s + 1, mask=s + 1 < sums, other=entries)
        end = tl.where(exists, end, 0)
        left = tl.max(end - entry, 0)
        while left > 0:
            for e in tl.static_range(AT_ONCE):
                total += _weighted_row(values, rows, weight, entry + e, entry + e < end, channel, inside, CHANNELS)
            entry += AT_ONCE
            left -= AT_ONCE
    tl.store(out + s[:, None].to(tl.int64) * CHANNELS + channel, total, mask=exists[:, None] & inside)


@triton.jit
def _weighted_row(values, rows, weight, entry, live, channel, inside, CHANNELS: tl.constexpr):
    row = tl.load(rows + entry, mask=live, other=0).to(tl.int64)
    share = tl.load(weight + entry, mask=live, other=0)
    return share[:, None] * tl.load(values + row[:, None] * CHANNELS + channel, mask=live[:, None] & inside, other=0)
