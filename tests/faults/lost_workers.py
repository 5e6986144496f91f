"""CRFs whose workers are lost. This module imports no Lightning, so that the workers start fast."""

import os
import signal
import threading
from typing import Any

from torch import Tensor

from src.crf import DenseCRF
from tests.faults.once import create_marker


class HangingCRF(DenseCRF):
    """Never returns from one image, the first for which the marker does not exist."""

    def __init__(self, marker: str, **options: Any) -> None:
        super().__init__(**options)
        self.marker = marker

    def refine_labels(self, *arguments: Any, **options: Any) -> Tensor:
        if create_marker(self.marker):
            threading.Event().wait()
        return super().refine_labels(*arguments, **options)


class DyingCRF(DenseCRF):
    """Kills its process, a worker, at one image, the first for which the marker does not exist."""

    workers = "processes"

    def __init__(self, marker: str, **options: Any) -> None:
        super().__init__(**options)
        self.marker = marker

    def refine_labels(self, *arguments: Any, **options: Any) -> Tensor:
        if create_marker(self.marker):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().refine_labels(*arguments, **options)
