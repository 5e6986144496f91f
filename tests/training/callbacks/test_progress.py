"""The progress of a training in a log: step, loss, speed and time left; in a validation, images, also with CRF."""

import re
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.trainings import SMALL


def always_due() -> None:
    from src.system import progress

    progress.INTERVAL = 0.0


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("logs")
    done = run_command("train", *SMALL, "trainer.max_steps=3", f"paths.log_dir={folder}", before=always_due)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "line",
    [
        r"training  step 1/3  loss \d\.\d{3}  [\d.]+ images/s  0:\d\d:\d\d left",
        r"training  step 3/3  loss \d\.\d{3}  [\d.]+ images/s  0:00:00 left",
        r"validation  image 2/3  0:00:\d\d left",
        r"validation  image 3/3  with CRF  0:00:00 left",
    ],
)
def test_lines(output: str, line: str) -> None:
    assert re.search(f"^{line}$", output, re.MULTILINE), output


def test_the_log_file_has_them_too(tmp_path: Path) -> None:
    done = run_command(
        "train", *SMALL, "crf=none", "trainer.max_steps=1", f"paths.log_dir={tmp_path}", before=always_due
    )
    assert done.returncode == 0, done.stderr
    assert "training  step 1/1" in next(tmp_path.rglob("train.log")).read_text()
