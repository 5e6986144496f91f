"""CRFs whose workers are lost. Workers import this module: without Lightning, they start in half of the time."""

import os
import signal
import threading
from typing import Any

from torch import Tensor

from src.crf import DenseCRF
from tests.faults.once import first


class HangingCRF(DenseCRF):
    """Never comes back from one image, the first for which the marker is not there."""

    def __init__(self, marker: str, **options: Any) -> None:
        super().__init__(**options)
        self.marker = marker

    def refine(self, *arguments: Any, **options: Any) -> Tensor:
        if first(self.marker):
            threading.Event().wait()
        return super().refine(*arguments, **options)


class DyingCRF(DenseCRF):
    """Its worker, a process, is killed at one image, the first for which the marker is not there."""

    workers = "processes"

    def __init__(self, marker: str, **options: Any) -> None:
        super().__init__(**options)
        self.marker = marker

    def refine(self, *arguments: Any, **options: Any) -> Tensor:
        if first(self.marker):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().refine(*arguments, **options)
