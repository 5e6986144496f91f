"""The small form of ``make gpu``: every part runs on the CPU, and finds figures or says that it needs a GPU."""

import json
import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gpu import runner
from tests.gpu.__main__ import main
from tests.gpu.figures import NEEDS_GPU, Figure, Setting

NOT_ON_CPU = {"steps": 1, "runs": 0, "exactness": 1, "distributed": 1, "validation": 0, "crf": 0, "commands": 1}


def test_every_part_runs_in_its_small_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--small", "--json", str(tmp_path / "gpu.json"), "--markdown", str(tmp_path / "gpu.md")])
    figures = [Figure(**figure) for figure in json.loads((tmp_path / "gpu.json").read_text())["figures"]]
    assert [figure for figure in figures if figure.ok is False] == []
    assert exit_.value.code == 0
    assert [figure.name for figure in figures if figure.name == "the part took"] == ["the part took"] * len(
        runner.PARTS
    )
    for part, count in NOT_ON_CPU.items():
        values = [figure.value for figure in figures if figure.part == part]
        assert len(values) > 2, part
        assert values.count(NEEDS_GPU) == count, part
        assert all(isinstance(value, str) or (math.isfinite(value) and value >= 0) for value in values)
    report = (tmp_path / "gpu.md").read_text()
    assert report.startswith("no GPU, ")
    assert report in capsys.readouterr().out
    assert len(report.splitlines()) == len(figures) + 4


def failing(setting: Setting) -> Iterator[Figure]:
    yield Figure("failing", "before", 1.0)
    raise ValueError("no such thing")


def killed(setting: Setting) -> Iterator[Figure]:
    yield Figure("killed", "before", 1.0)
    os.kill(os.getpid(), signal.SIGKILL)


def hanging(setting: Setting) -> Iterator[Figure]:
    threading.Event().wait()
    yield Figure("hanging", "never", 1.0)


ENDINGS = [
    ("failing", 60, "ValueError: no such thing"),
    ("killed", 60, "ended with exit status -9"),
    ("hanging", 0, "took more than 0 s"),
]


@pytest.mark.parametrize(("name", "limit", "reason"), ENDINGS)
def test_a_part_that_does_not_end_well_is_reported(name: str, limit: int, reason: str, tmp_path: Path) -> None:
    part = runner.Part(f"tests.gpu.test_small:{name}", limit)
    figures = runner.run_part(name, part, Setting("cpu", True, tmp_path / name))
    before = [Figure(name, "before", 1.0)] if limit else []
    assert figures == [*before, Figure(name, "failed", reason, ok=False)]


def test_the_whole_run_takes_less_than_8_minutes() -> None:
    assert sum(part.limit for part in runner.PARTS.values()) <= 480
