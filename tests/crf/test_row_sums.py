"""Weighted sums of rows, which are the product of a sparse matrix and values."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from src.crf.lattice.row_sums import RowSums


def some_sums(dtype: torch.dtype = torch.float64) -> tuple[RowSums, Tensor]:
    """Return sums of no, one and many rows, and the 8 x 13 matrix that they stand for."""
    random = torch.Generator().manual_seed(0)
    ends = [0, 3, 4, 40, 41, 60, 60, 60]
    rows = torch.randint(13, (60,), generator=random, dtype=torch.int32)
    weight = torch.randn(60, generator=random, dtype=dtype)
    matrix = torch.zeros(8, 13, dtype=dtype)
    for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        for entry in range(begin, end):
            matrix[number, rows[entry]] += weight[entry]
    return RowSums(rows, torch.tensor([0, *ends[:-1]], dtype=torch.int32), weight), matrix


def some_values(channels: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(13, channels, dtype=dtype, generator=torch.Generator().manual_seed(1))


def test_sums_equal_the_matrix_product():
    sums, matrix = some_sums()
    assert torch.allclose(sums.apply(some_values(5)), matrix @ some_values(5))


@pytest.mark.parametrize("longest", [1, 4, 100])
def test_split_sums_equal_whole_sums(longest):
    sums, matrix = some_sums()
    pieces, whole = sums.split(longest)
    ends = torch.cat([pieces.begin[1:], torch.tensor([60])])
    assert (ends - pieces.begin).max() == min(longest, 36)
    assert torch.allclose(whole.apply(pieces.apply(some_values(5))), matrix @ some_values(5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [0, 1, 21, 24, 600])
def test_the_triton_kernel(channels, dtype):
    """Runs on a GPU (CUDA_VISIBLE_DEVICES=0), or interpreted (TRITON_INTERPRET=1)."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("needs a GPU, and CUDA_VISIBLE_DEVICES=0; or pip install triton, and TRITON_INTERPRET=1")
    row_sums_kernel = pytest.importorskip(
        "src.crf.lattice.row_sums_kernel", reason="no Triton here", exc_type=ImportError
    )
    sums, matrix = some_sums(dtype)
    for _ in range(5):  # enough for several programs
        sums, matrix = sums.append(sums), torch.cat([matrix, matrix])
    values = some_values(channels, dtype)
    of_twelve = RowSums.with_length(12, sums.rows, sums.weight)
    by_hand = (sums.weight[:, None] * values[sums.rows.long()]).view(len(sums.rows) // 12, 12, channels).sum(1)
    for given, expected in ((sums, matrix @ values), (of_twelve, by_hand)):
        rows, begin, weight = (tensor.to(device) for tensor in given[:3])
        found = row_sums_kernel.row_sums(values.to(device), rows, begin, weight, given.length)
        assert torch.allclose(found.cpu(), expected, rtol=1e-5, atol=1e-5)
