"""The LightningModule: loss, metrics, optimiser. No architecture, no data."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from hydra.utils import instantiate
from jaxtyping import Float, Integer
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from src.drawing.tables import print_parameter_groups
from src.errors import UserError
from src.models import DeepLab, Inference
from src.training.datamodule import Batch
from src.training.validation import Validation, figures_of


class Segmenter(LightningModule):
    """Trains and validates a segmentation network.

    All arguments are plain dicts, lists and strings (configurations with ``_target_``), so a checkpoint holds what
    it takes to rebuild the network and loads with ``weights_only=True``.

    Args:
        model: configuration of the network; called with ``num_classes``.
        loss: configuration of a module that takes scores (batch, classes, rows, columns) and labels (batch, height,
            width).
        optimizer: configuration of a callable that takes the network.
        scheduler: configuration of a callable that takes the optimiser; stepped once an iteration. A ``total_iters`` of
            None becomes the run's own length.
        classes: their names.
        palette: RGB in 0..255 for each class.
        dataset: configuration of the data set it is trained on; only kept, for those who evaluate a checkpoint.

    Attributes:
        inference: how validation looks at an image.
        validation: what the last validation found.
    """

    CONFIGS = ("model", "loss", "optimizer", "scheduler")

    model: DeepLab

    def __init__(
        self,
        model: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        dataset: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # loggers have the whole config
        self.model = instantiate(model, num_classes=len(classes)).to(memory_format=torch.channels_last)
        self.loss = instantiate(loss)
        self.inference = Inference()
        self.optimizer_config, self.scheduler_config = optimizer, scheduler
        self.classes = list(classes)
        self.palette = torch.tensor(palette, dtype=torch.uint8)
        self.validation = Validation(self.classes)

    def forward(self, image: Integer[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes rows columns"]:
        return self.model(image)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        loss = self.loss(self(batch["image"]), batch["label"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["label"]), sync_dist=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.validation.begin(self.device, self.trainer.strategy.reduce_boolean_decision)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Hand the score maps of a batch to ``validation``."""
        scores = self.inference(self, batch["image"])
        if not bool(scores.isfinite().all()):
            raise UserError(
                f"validation after {self.trainer.global_step} iterations: the scores of {', '.join(batch['id'])} are "
                "not finite (NaN or infinity): training diverged; lower optimizer.lr, or find where with debug=find_nan"
            )
        self.validation.add(batch, scores)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/miou``, ``val/iou/CLASS`` and the like, and those with CRF where one refined."""
        if self.trainer.sanity_checking:
            return
        for name, value in figures_of(self.validation.results, self.classes).items():
            self.log(name, value, prog_bar=name == "val/miou")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = instantiate(self.optimizer_config, self.model)
        if self.trainer.is_global_zero:
            print_parameter_groups(optimizer.param_groups)
        schedule = dict(self.scheduler_config)
        if "total_iters" in schedule:
            schedule["total_iters"] = self.decay_length
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": instantiate(schedule, optimizer), "interval": "step"},
        }

    @property
    def decay_length(self) -> int | None:
        """Iterations over which the rate decays; None where the schedule has no end.

        Raises:
            UserError: if that is to be the length of a run that has none.
        """
        if "total_iters" not in self.scheduler_config:
            return None
        length = self.scheduler_config["total_iters"] or self.trainer.estimated_stepping_batches
        if length == float("inf"):
            raise UserError("a run without end (trainer.max_steps=-1) has no length to decay over: set it, "
                            "trainer.max_epochs or scheduler.total_iters")  # fmt: skip
        return int(length)
