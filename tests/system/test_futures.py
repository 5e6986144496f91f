"""Results of background work are taken in order, as soon as possible, and within a limit."""

from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from typing import Any

import pytest

from src.system.futures import OrderedFutures


def pending(count: int, limit: int | None = None) -> tuple[OrderedFutures, list[Future], list[tuple[Any, int]]]:
    """Return a queue with ``count`` futures, the futures, and the list of (result, context) taken so far."""
    taken: list[tuple[Any, int]] = []
    queue: OrderedFutures = OrderedFutures(lambda future, context: taken.append((future.result(0), context)), limit)
    futures: list[Future] = [Future() for _ in range(count)]
    for number, future in enumerate(futures):
        queue.add(future, number)
    return queue, futures, taken


def test_a_result_waits_for_those_before_it_and_for_no_other() -> None:
    queue, futures, taken = pending(3)
    futures[1].set_result("b")
    assert taken == []
    futures[0].set_result("a")
    queue.add(Future(), 3)  # takes what is done: the first two, not the last two
    assert taken == [("a", 0), ("b", 1)]
    assert len(queue) == 2


def test_finish_waits_for_all() -> None:
    queue, futures, taken = pending(3)
    for future, result in zip(futures, "abc", strict=True):
        future.set_result(result)
    queue.finish()
    assert taken == [("a", 0), ("b", 1), ("c", 2)]
    assert len(queue) == 0


def test_beyond_the_limit_the_first_is_waited_for() -> None:
    queue, _, taken = pending(2, limit=2)
    with pytest.raises(NotDone):  # the future is not done: result(0) does not wait
        queue.add(Future(), 2)
    assert len(queue) == 2  # the first one has been given to take
    assert taken == []


def test_an_error_is_passed_on_and_the_others_stay() -> None:
    queue, futures, taken = pending(2)
    futures[0].set_exception(ValueError("broken"))
    futures[1].set_result("b")
    with pytest.raises(ValueError, match="broken"):
        queue.finish()
    queue.finish()
    assert taken == [("b", 1)]


def test_clear_takes_nothing() -> None:
    queue, futures, taken = pending(2)
    queue.clear()
    futures[0].set_result("a")
    queue.finish()
    assert taken == []
