"""Accumulate gradients across epochs, and save and restore them."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.training.lightning_state import accumulate_across_epochs


class AccumulatedGradients(Callback):
    """Makes every step average the gradients of ``trainer.accumulate_grad_batches`` batches, across epochs and resumes.

    A checkpoint stores the gradients accumulated so far. Each of several processes accumulates its own until the step,
    but all of them resume from the same checkpoint, so they continue with the mean, whose mean is the same.
    """

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}  # from the checkpoint that the run resumes from

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.accumulate_grad_batches > 1:
            accumulate_across_epochs(trainer)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit" and trainer.accumulate_grad_batches > 1:
            gradients = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
            for gradient in gradients.values():
                trainer.strategy.reduce(gradient, reduce_op="mean")  # in place: also without an interruption
            checkpoint["gradients"] = gradients

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.gradients = checkpoint.get("gradients", {})

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        for name, parameter in module.named_parameters():
            if name in self.gradients:
                parameter.grad = self.gradients[name].to(parameter.device)
        self.gradients = {}
