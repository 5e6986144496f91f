"""Stop a run whose loss is not finite, and save what is needed to find out why."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.system.errors import UserError
from src.system.files import replacing
from src.training.checkpoint_io import why_unwritten
from src.training.datamodule import Batch


class FiniteLoss(Callback):
    """Stops the run before a NaN or infinite loss reaches the weights.

    The check synchronises with the device once per batch.

    Args:
        path: file for the batch, the weights and the step; it loads with ``weights_only=True``.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self.batch = batch

    def on_before_backward(self, trainer: Trainer, module: LightningModule, loss: Tensor) -> None:
        if torch.isfinite(loss):
            return
        path = self.path.with_stem(f"{self.path.stem}_{trainer.global_rank}") if trainer.global_rank else self.path
        content: dict[str, Any] = {
            "batch": dict(self.batch),
            "state_dict": module.state_dict(),
            "hyper_parameters": dict(module.hparams),
            "step": trainer.global_step,
        }
        try:
            with replacing(path) as part, part.open("wb") as file:
                torch.save(content, file)
            where = str(path)
        except (OSError, RuntimeError) as error:  # the loss matters more than a full disk
            where = f"no file, because {path} could not be written ({why_unwritten(error)})"
        raise UserError(
            f"the loss is {float(loss.detach())} at step {trainer.global_step}, images {', '.join(self.batch['id'])}; "
            f"batch and weights are in {where}. Lower optimizer.lr, or find the operation with debug=find_nan"
        )
