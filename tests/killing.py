"""A fault for the tests of sweeps."""

import os
import signal
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer


class KillOnce(Callback):
    """SIGKILL to this process at a step of one job's training, the first time that it is reached.

    Args:
        folder: of the job; others, whose folders' names do not begin with ``job``, live on.
        marker: file that says it has happened.
    """

    def __init__(self, folder: str, job: str, step: int, marker: str) -> None:
        self.here = Path(folder).name.startswith(job)
        self.step, self.marker = step, Path(marker)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.here and trainer.global_step == self.step and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
