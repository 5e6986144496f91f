"""Save and restore accumulated gradients."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor


class AccumulatedGradients(Callback):
    """Saves the gradients that ``trainer.accumulate_grad_batches`` has accumulated when a checkpoint is written."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}  # of the checkpoint that the run resumes from

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit" and trainer.accumulate_grad_batches > 1:
            checkpoint["gradients"] = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.gradients = checkpoint.get("gradients", {})

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        for name, parameter in module.named_parameters():
            if name in self.gradients:
                parameter.grad = self.gradients[name].to(parameter.device)
        self.gradients = {}
