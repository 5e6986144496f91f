"""Progress in logs: a line every half minute, with the correct time left."""

import logging

import pytest

from src.system import progress
from src.system.progress import ProgressLines, tracked


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_line_in_half_a_minute_with_the_time_that_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    lines = ProgressLines("training  step", 400, completed=100, clock=clock)
    for step in range(101, 201):
        clock.now += 1
        lines.update(step, "loss 0.500")
    assert caplog.messages == [  # one step per second
        "training  step 130/400  loss 0.500  0:04:30 left",
        "training  step 160/400  loss 0.500  0:04:00 left",
        "training  step 190/400  loss 0.500  0:03:30 left",
    ]


def test_a_slow_step_has_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    lines = ProgressLines("training  step", None, clock=clock)
    for step in (1, 2):
        clock.now += 90
        lines.update(step)
    assert caplog.messages == ["training  step 1", "training  step 2"]


def test_tracked_items_are_the_items(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    assert list(tracked("abc", "checking")) == list("abc")
    assert [message.split("  ")[0] for message in caplog.messages] == ["checking 0/3", "checking 1/3", "checking 2/3"]
