"""Show the progress of a run, counted in optimiser steps."""

import sys
from time import perf_counter
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from src.runs.metric_names import CRF, METHODS, metric_name
from src.system.progress import ProgressLines
from src.training.datamodule import Batch
from src.training.segmenter import Segmenter
from src.training.trainer import count_steps
from src.training.validation import LabelledImage


class StepProgress(ProgressBar):
    """Shows one progress bar over all steps of a run, and prints a line for every validation.

    Without a terminal, a line every half minute replaces the bar: step, loss, images per second and time left, or in a
    validation the number of images done. Lightning's own bars restart at every epoch, which for a small data set is
    every second.

    Args:
        refresh_rate: steps between updates of the bar.
    """

    def __init__(self, refresh_rate: int = 5) -> None:
        super().__init__()
        self.refresh_rate = max(1, refresh_rate)
        self.console = Console(file=sys.stdout)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.lines: ProgressLines | None = None  # without a terminal
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False  # Lightning calls this on every process but the first

    def enable(self) -> None:
        self.enabled = True

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        super().setup(trainer, module, stage)
        assert isinstance(module, Segmenter)
        module.validation.readers.append(self.count_refined)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        module.validation.readers.remove(self.count_refined)

    def start(self, description: str, total: float | None, completed: int = 0) -> None:
        """Start to show progress, unless another process shows it."""
        if not self.enabled:
            return
        self.stop()
        if not self.console.is_terminal:
            self.lines = ProgressLines(description, total, completed)
            return
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.bar.start()
        self.task = self.bar.add_task(description, total=total, completed=completed, metrics="")

    def is_due(self, completed: int) -> bool:
        """Return whether ``update`` would show this number of items."""
        if self.lines is not None:
            return self.lines.is_due()
        return self.bar is not None and completed % self.refresh_rate == 0

    def update(self, completed: int, metrics: str = "") -> bool:
        """Show the number of items done and the metrics, if it is time to; return whether a line was logged."""
        if self.bar is not None and self.task is not None and self.is_due(completed):
            self.bar.update(self.task, completed=completed, metrics=metrics)
        return self.lines is not None and self.lines.update(completed, metrics)

    def stop(self) -> None:
        """Remove the progress bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        self.lines = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.steps = count_steps(trainer)
        self.start_training(trainer)

    def start_training(self, trainer: Trainer) -> None:
        """Start to count steps: at the beginning, and after each validation, which must not affect the time left."""
        self.start("training  step", self.steps, trainer.global_step)
        self.images, self.counted_since = 0, perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.images += len(batch["id"]) * trainer.world_size
        if not self.is_due(trainer.global_step):
            return  # to read the loss is to wait for the GPU
        loss = trainer.callback_metrics.get("train/loss")
        metrics = [] if loss is None else [f"loss {loss:.3f}"]
        if self.lines is not None:
            metrics.append(f"{self.images / (perf_counter() - self.counted_since):.1f} images/s")
        if self.update(trainer.global_step, "  ".join(metrics)):
            self.images, self.counted_since = 0, perf_counter()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.refined = 0
        if trainer.state.fn == "validate" or not self.console.is_terminal:
            self.start("validation  image", trainer.num_val_batches[0])

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if trainer.state.fn == "validate" or self.lines is not None:
            self.update(batch_idx + 1)

    def count_refined(self, image: LabelledImage) -> None:
        """Show the number of images that the CRF has refined; it finishes after the network."""
        if image.method == CRF:
            self.refined += 1
            if self.lines is not None:
                self.lines.update(self.refined, "with CRF")

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self.enabled:
            metrics = {
                key: trainer.callback_metrics.get(key)
                for key in ("train/loss", *(metric_name("miou", method) for method in METHODS))
            }
            line = "  ".join(f"{key} {value:.3f}" for key, value in metrics.items() if value is not None)
            self.console.print(f"step {trainer.global_step:>6}  {line}", highlight=False)
            if not self.console.is_terminal:
                self.start_training(trainer)
        elif trainer.state.fn == "validate":
            self.stop()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.stop()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.stop()
