"""The LightningModule that connects network, loss, metrics and optimiser."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from jaxtyping import Float, Integer
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from omegaconf import OmegaConf
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from src.drawing.tables import print_parameter_groups
from src.models import DeepLab, Inference
from src.runs.checkpoint_content import explain_misfit, read_checkpoint
from src.runs.metric_names import metric_name
from src.system.counted import counted
from src.system.errors import UserError
from src.training.datamodule import Batch
from src.training.equal_sizes import PIXELS, EqualSizes
from src.training.memory_format import FORMATS, lay_out, saved_memory_format
from src.training.trainer import count_steps
from src.training.validation import Validation, collect_metrics


class Segmenter(LightningModule):
    """Trains and validates a segmentation network.

    All arguments are plain dicts, lists and strings (configurations with ``_target_``). So a checkpoint contains
    everything needed to rebuild the network, and loads with ``weights_only=True``.

    Args:
        model: configuration of the network; called with ``num_classes``.
        loss: configuration of a module that takes scores (batch, classes, rows, columns) and labels (batch, height,
            width).
        optimizer: configuration of a callable that takes the network.
        scheduler: configuration of a callable that takes the optimiser; stepped at every optimiser step.
            ``total_iters`` of None becomes the length of the run.
        classes: names of the classes.
        palette: RGB in 0..255 for each class.
        dataset: configuration of the data set; only stored in checkpoints, to evaluate them later.

    Attributes:
        inference: computes the scores of an image in validation.
        memory_format: the memory format of the network and its images, channels_last or contiguous; stored in
            checkpoints, so that a resumed run sums in the same order.
        validation: the results of the last validation.
        validation_loss: the mean loss of the images of the last validation.
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
        self.save_hyperparameters(logger=False)  # loggers get the whole config
        configs = {"model": model, "loss": loss, "optimizer": optimizer, "scheduler": scheduler}
        keyed = OmegaConf.create(configs, flags={"allow_objects": True})  # Hydra's errors then name the keys
        self.model = instantiate(keyed.model, num_classes=len(classes))
        self.set_memory_format("channels_last")
        self.loss = instantiate(keyed.loss)
        self.inference = Inference()
        self.optimizer_config, self.scheduler_config = keyed.optimizer, keyed.scheduler
        self.classes = list(classes)
        self.palette = torch.tensor(palette, dtype=torch.uint8)
        self.validation = Validation(self.classes)
        self.equal_sizes = EqualSizes(0)
        self.validation_loss = MeanMetric()  # over images; Lightning's own mean is wrong for unequal shares

    def forward(self, image: Integer[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes rows columns"]:
        return self.model(image.contiguous(memory_format=FORMATS[self.memory_format]))

    def set_memory_format(self, name: str) -> None:
        """Convert the weights, and from now on the images, to the memory format of this name."""
        self.memory_format = name
        lay_out(self.model, name)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["memory_format"] = self.memory_format

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.set_memory_format(saved_memory_format(checkpoint))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of a batch, and log it as ``train/loss``."""
        loss = self.loss(self(batch["image"]), batch["label"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["label"]), sync_dist=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.validation_loss.reset()
        self.validation.begin(self.device, self.trainer.strategy.reduce_boolean_decision)
        self.equal_sizes = EqualSizes(PIXELS if self.device.type == "cuda" else 0)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Predict an image; on a GPU, once a batch of images of its size is full, or at the last image."""
        for positions, joined in self.equal_sizes.add(batch_index, batch):
            self.validate(positions, joined)
        count = self.trainer.num_sanity_val_batches if self.trainer.sanity_checking else self.trainer.num_val_batches
        if batch_index + 1 == count[0]:
            for positions, joined in self.equal_sizes.rest():
                self.validate(positions, joined)

    def validate(self, positions: Sequence[int], batch: Batch) -> None:
        """Compute the scores and the losses of a batch, and pass the scores to ``validation``.

        Args:
            positions: of the images, counted from 0, in the order of this process.
            batch: images of one size.

        Raises:
            UserError: if a score is not finite.
        """
        scores = self.inference(self, batch["image"])
        if not bool(scores.isfinite().all()):
            steps = counted(self.trainer.global_step, "step")
            raise UserError(
                f"validation after {steps}: the scores of {', '.join(batch['id'])} are not finite (NaN or infinity): "
                "training diverged; lower optimizer.lr, or find where with debug=find_nan"
            )
        for score_map, label in zip(scores.split(1), batch["label"].split(1), strict=True):
            self.validation_loss.update(self.loss(score_map, label))
        self.validation.add(positions, batch, scores)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/loss``, ``val/miou``, ``val/iou/CLASS`` and the other metrics, with and without CRF."""
        if self.trainer.sanity_checking:
            return
        self.log(metric_name("loss"), self.validation_loss.compute())
        for name, value in collect_metrics(self.validation.compute(), self.classes).items():
            self.log(name, value, prog_bar=name == metric_name("miou"))

    def build_optimizer(self) -> Optimizer:
        """Return a new optimiser of the network's parameters."""
        return instantiate(self.optimizer_config, self.model)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build the optimiser and the schedule, and print the parameter groups."""
        optimizer = self.build_optimizer()
        if self.trainer.is_global_zero:
            print_parameter_groups(optimizer.param_groups)
        length = {"total_iters": self.decay_length} if "total_iters" in self.scheduler_config else {}
        schedule = instantiate(self.scheduler_config, optimizer, **length)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def decay_length(self) -> int | None:
        """The number of steps over which the learning rate decays; None if the schedule has no end.

        Raises:
            UserError: if the schedule should be as long as the run, but the run has no end.
        """
        if "total_iters" not in self.scheduler_config:
            return None
        length = self.scheduler_config["total_iters"] or count_steps(self.trainer)
        if length == float("inf"):
            raise UserError(
                "the learning rate cannot decay over a run without end (trainer.max_steps=-1): set trainer.max_steps, "
                "trainer.max_epochs or scheduler.total_iters"
            )
        return int(length)


def load_segmenter(ckpt: str | Path | None) -> Segmenter:
    """Return the Segmenter of a checkpoint, in evaluation mode, to validate its network as in training.

    To label images, ``src.prediction.trained_network.load_network`` is enough.

    Args:
        ckpt: see ``read_checkpoint``.

    Raises:
        UserError: if the checkpoint cannot be used.
    """
    path, hparams, state = read_checkpoint(ckpt)
    with explain_misfit(path):
        segmenter = Segmenter(**hparams)
        segmenter.load_state_dict(state)
    return segmenter.eval()
