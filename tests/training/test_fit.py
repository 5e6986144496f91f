"""What a training checks before it reads the data."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import Timer

from src.models.heads.fully_connected import FCHead
from src.training.datamodule import SegmentationDataModule
from src.training.fit import check_parts, describe_early_end, train
from tests.models.networks import composed

CLASSES, PALETTE = ["a", "b"], [[0, 0, 0], [1, 1, 1]]


class HeadWithNumbers(FCHead):
    """A head that needs the value of a tensor, which "meta" has not."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.scale = torch.ones(1).item()


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


def test_the_check_takes_no_random_numbers() -> None:
    before = torch.get_rng_state()
    check_parts(composed("backbone.width=0.0625"), CLASSES, PALETTE)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_that_needs_memory_is_no_fault() -> None:
    small = ("backbone.width=0.0625", "head.channels=64")
    head = f"head._target_={__name__}.{HeadWithNumbers.__name__}"
    check_parts(composed(*small, head), CLASSES, PALETTE)
    with pytest.raises(InstantiationException, match="lr=-1"):
        check_parts(composed(*small, head, "optimizer.lr=-1"), CLASSES, PALETTE)


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
