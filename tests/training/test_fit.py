"""What a training checks before it reads the data."""

import random
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from lightning import seed_everything
from lightning.pytorch.callbacks import Timer

from src.models.heads.fully_connected import FCHead
from src.training.datamodule import SegmentationDataModule
from src.training.fit import check_parts, describe_early_end, train
from tests.models.networks import composed

CLASSES, PALETTE = ["a", "b"], [[0, 0, 0], [1, 1, 1]]
SMALL = ("backbone.width=0.0625", "head.channels=64")


class HeadWithNumbers(FCHead):
    """A head that needs the value of a tensor, which "meta" has not, and takes random numbers of all kinds."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        random.random(), np.random.rand()
        self.scale = torch.ones(1).item()


HEAD_WITH_NUMBERS = f"head._target_={__name__}.{HeadWithNumbers.__name__}"


def refuse() -> None:
    raise ValueError("refused")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.lr=-1", "lr=-1: must be 0 or more"),
        ("optimizer.momentum=1", "momentum=1: must be 0 or more, and below 1"),
        ("head.kernel=0", "kernel=0: must be positive"),
        ("loss.criterion.label_smoothing=2", "label_smoothing=2: must lie between 0 and 1"),
    ],
)
def test_a_wrong_setting_is_found_before_the_data_is_read(
    override: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SegmentationDataModule, "check", lambda self: pytest.fail("the data was read"))
    with pytest.raises(InstantiationException, match=said):
        train(composed(override))


@pytest.mark.parametrize("head", ["vanilla", HEAD_WITH_NUMBERS])
def test_the_check_takes_no_random_numbers(head: str) -> None:
    """Also of a network that "meta" cannot hold, and that is therefore built a second time."""
    seed_everything(0, verbose=False)
    expected = torch.rand(2).tolist(), random.random(), np.random.rand()
    seed_everything(0, verbose=False)
    check_parts(composed(*SMALL, f"head={head}" if head == "vanilla" else head), CLASSES, PALETTE)
    assert (torch.rand(2).tolist(), random.random(), np.random.rand()) == expected


def test_a_refused_argument_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []
    monkeypatch.setattr(FCHead, "__init__", lambda *_, **__: devices.append(torch.empty(0).device.type) or refuse())
    with pytest.raises(InstantiationException, match="refused"):
        check_parts(composed(*SMALL), CLASSES, PALETTE)
    assert devices == ["meta"]


def test_a_network_that_needs_memory_is_no_fault() -> None:
    check_parts(composed(*SMALL, HEAD_WITH_NUMBERS), CLASSES, PALETTE)
    with pytest.raises(InstantiationException, match="lr=-1"):
        check_parts(composed(*SMALL, HEAD_WITH_NUMBERS, "optimizer.lr=-1"), CLASSES, PALETTE)


@pytest.mark.parametrize(
    ("max_steps", "max_epochs", "steps", "end"),
    [(5000, None, 5000, " of 5000"), (-1, 20, 2000, " of 2000"), (-1, -1, float("inf"), "")],
)
def test_the_line_about_max_time_names_the_length_of_the_run(
    max_steps: int, max_epochs: int | None, steps: float, end: str
) -> None:
    trainer = SimpleNamespace(
        global_step=500, current_epoch=5, max_steps=max_steps, max_epochs=max_epochs, min_steps=None,
        num_training_batches=100, accumulate_grad_batches=1, estimated_stepping_batches=steps,
        callbacks=[Timer(timedelta(seconds=-1))],  # its time is over
    )  # fmt: skip
    assert describe_early_end(trainer) == f"trainer.max_time was reached at step 500{end}; continue with ckpt=last"
