"""Faults for the tests of sweeps."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer


class KillOnce(Callback):
    """Sends SIGKILL to this process at a step of one job's training, once.

    Args:
        folder: of the job.
        marker: file that marks that it has happened.
        job: beginning of the name of the folder of the job to kill.
        step: at which the job is killed.
    """

    def __init__(self, folder: str, job: str, step: int, marker: str) -> None:
        self.here = Path(folder).name.startswith(job)
        self.step, self.marker = step, Path(marker)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.here and trainer.global_step == self.step and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class OutOfMemory(Callback):
    """A lack of memory of some kind in the second step of training, or in the validation of the best checkpoint.

    Args:
        kind: gpu (raised: there need be no GPU), cpu and python (both ask for more than there is), validation; none.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step < 2:
            return
        if self.kind == "gpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        if self.kind == "cpu":
            torch.empty(2**46)
        if self.kind == "python":
            bytearray(2**60)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        if self.kind == "validation" and trainer.state.fn == "validate":
            torch.empty(2**46)
