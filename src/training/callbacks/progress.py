"""Show the progress of a run, counted in optimiser steps."""

import sys
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

from src.runs.metric_names import METHODS, metric_name
from src.training.trainer import count_steps


class StepProgress(ProgressBar):
    """Shows one progress bar over all steps of a run, and prints a line for every validation, also without a terminal.

    Lightning's own bars start again with every epoch, which is every second for a small data set.

    Args:
        refresh_rate: steps between updates.
    """

    def __init__(self, refresh_rate: int = 5) -> None:
        super().__init__()
        self.refresh_rate = max(1, refresh_rate)
        self.console = Console(file=sys.stdout)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False  # Lightning calls this on every process but the first

    def enable(self) -> None:
        self.enabled = True

    def start(self, description: str, total: float | None, completed: int = 0) -> None:
        """Show a new progress bar, unless another process shows one."""
        if not self.enabled:
            return
        self.stop()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.bar.start()
        self.task = self.bar.add_task(description, total=total, completed=completed, metrics="")

    def update(self, completed: int, metrics: str = "") -> None:
        """Set the number of completed steps and the text beside the bar."""
        if self.bar is not None and self.task is not None and completed % self.refresh_rate == 0:
            self.bar.update(self.task, completed=completed, metrics=metrics)

    def stop(self) -> None:
        """Remove the progress bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.start("training", count_steps(trainer), trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        loss = trainer.callback_metrics.get("train/loss")
        self.update(trainer.global_step, "" if loss is None else f"loss {loss:.3f}")

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self.start("validation", trainer.num_val_batches[0])

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if trainer.state.fn == "validate":
            self.update(batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self.enabled:
            metrics = {
                key: trainer.callback_metrics.get(key)
                for key in ("train/loss", *(metric_name("miou", method) for method in METHODS))
            }
            line = "  ".join(f"{key} {value:.3f}" for key, value in metrics.items() if value is not None)
            self.console.print(f"step {trainer.global_step:>6}  {line}", highlight=False)
        elif trainer.state.fn == "validate":
            self.stop()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.stop()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.stop()
