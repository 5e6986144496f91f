"""Gradients that two processes accumulate, in a checkpoint; one weight, whose gradient is the input."""

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from src.training.resume import ResumeCheckpoint
from src.training.resume.gradients import AccumulatedGradients


class Weight(L.LightningModule):
    """The gradient of a batch is 1 on the first process and 3 on the second."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, batch_index: int) -> Tensor:
        return (self.weight * (1 + 2 * self.global_rank)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


class AfterFirstBatch(L.Callback):
    """Saves a checkpoint after the first of the two batches of a step, or sends a signal to the second process."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index == 0 and self.path:
            trainer.save_checkpoint(self.path)
        elif index == 0 and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def train(*callbacks: L.Callback) -> L.LightningModule:
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp_fork", max_steps=2, accumulate_grad_batches=2, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, callbacks=[AccumulatedGradients(), *callbacks],
    )  # fmt: skip
    module = Weight()
    trainer.fit(module, DataLoader(torch.zeros(4, 1)))
    return module


def test_a_checkpoint_within_a_step_has_the_mean_of_the_processes(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    module = train(AfterFirstBatch(path))
    assert torch.load(path, weights_only=True)["gradients"]["weight"].tolist() == [1.0]  # (1 + 3) / 2, of two batches
    assert module.weight.tolist() == [-4.0]  # two steps of the mean 2, as without a checkpoint


def test_a_signal_within_a_step_ends_the_processes_after_it(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    with pytest.raises(torch.multiprocessing.ProcessExitedException, match=r"143|SIGTERM"):
        train(AfterFirstBatch(None), ResumeCheckpoint(str(path)))
    content = torch.load(path, weights_only=True)
    assert content["global_step"] == 1
    assert content["state_dict"]["weight"].tolist() == [-2.0]
