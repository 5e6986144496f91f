"""EMA and SWA as configured: the average, calculated by hand, is validated and saved."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from src.training.callbacks.averaging import average_from
from tests.models.networks import composed


class Falling(LightningModule):
    """A single weight, which is -t after step t."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.validated: list[float] = []

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return self.weight

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.validated.append(float(self.weight))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.parametrize(
    ("choice", "average"),
    [
        ("callbacks=ema callbacks.weight_averaging.avg_fn.decay=0.5", [-1, -1.5, -2.25, -3.125]),
        ("callbacks=swa callbacks.weight_averaging.avg_fn.start=2", [-1, -2, -3, -3.5]),
        ("callbacks=swa trainer.max_steps=3", [-1, -2, -3, -3.5]),  # 0.75 * 3 is 2 when rounded
        ("callbacks=default", [-1, -2, -3, -4]),
    ],
)
def test_the_average_is_validated_and_saved(choice: str, average: list[float], tmp_path: Path) -> None:
    callbacks = composed(*choice.split()).callbacks
    averaging = [instantiate(callbacks.weight_averaging)] if "weight_averaging" in callbacks else []
    module = Falling()
    trainer = Trainer(
        max_steps=4, val_check_interval=1, check_val_every_n_epoch=None, num_sanity_val_steps=0, accelerator="cpu",
        callbacks=[*averaging, ModelCheckpoint(tmp_path, "last")], logger=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    data = DataLoader(torch.zeros(8, 1))
    trainer.fit(module, data, DataLoader(torch.zeros(1, 1)))
    assert module.validated == pytest.approx(average)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert float(saved["state_dict"]["weight"]) == pytest.approx(average[-1])


@pytest.mark.parametrize(("steps", "start"), [(400, 300), (6000, 4500)])
def test_swa_leaves_out_three_quarters_of_the_run(steps: int, start: int) -> None:
    assert composed("callbacks=swa", f"trainer.max_steps={steps}").callbacks.weight_averaging.avg_fn.start == start


def test_a_negative_start_is_named() -> None:
    with pytest.raises(ValueError, match="start=-1: must not be negative"):
        average_from(-1)
