"""Work shared among processes."""

import pytest

from src.data.parallel import over_cores


def test_loader_workers_start_within_joblib_processes() -> None:
    """PyTorch's loader cannot start its workers with joblib's start method."""
    joblib = pytest.importorskip("joblib")
    squares = joblib.Parallel(n_jobs=2)(joblib.delayed(squares_over_cores)(count) for count in (3, 2))
    assert squares == [[0, 1, 4], [0, 1]]


def squares_over_cores(count: int) -> list[int]:
    return list(over_cores(square, count, "squares", workers=1))


def square(number: int) -> int:
    return number**2
