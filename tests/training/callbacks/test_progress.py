"""The progress of a training in a log: step, loss, speed and time left; in a validation, images, also with CRF."""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from src.training.callbacks import StepProgress
from tests import checkpoints
from tests.commands import run_command
from tests.trainings import SMALL


class Training(SimpleNamespace):
    """Counts how often the loss is read, which waits for the GPU."""

    reads = 0

    @property
    def callback_metrics(self) -> dict[str, torch.Tensor]:
        self.reads += 1
        return {"train/loss": torch.tensor(0.5)}


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


@pytest.mark.parametrize(("is_terminal", "reads"), [(True, 2), (False, 0)])
def test_the_loss_is_read_only_where_it_is_shown(is_terminal: bool, reads: int) -> None:
    progress = StepProgress(refresh_rate=5)
    progress.console = Console(file=io.StringIO(), force_terminal=is_terminal)
    progress.steps = 10
    trainer = Training(world_size=1, global_step=0)
    progress.start_training(trainer)
    for step in range(1, 11):
        trainer.global_step = step
        progress.on_train_batch_end(trainer, None, None, {"id": ["a"]}, step - 1)
    progress.stop()
    assert trainer.reads == reads  # at steps 5 and 10; a line would be due after half a minute


def test_a_later_validation_does_not_report_to_it() -> None:
    progress, segmenter = StepProgress(), checkpoints.segmenter()
    trainer = SimpleNamespace(is_global_zero=True)
    progress.setup(trainer, segmenter, "validate")
    assert segmenter.validation.readers == [progress.count_refined]
    progress.teardown(trainer, segmenter, "validate")
    assert segmenter.validation.readers == []
