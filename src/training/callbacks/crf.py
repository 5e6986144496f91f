"""Run the dense CRF during validation."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import BrokenExecutor, Future
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.models.geometry import score_stride
from src.runs.metric_names import is_crf_metric
from src.system.counted import counted
from src.system.errors import UserError
from src.training.segmenter import Segmenter
from src.training.validation import LabelledImage

log = logging.getLogger(__name__)


class CRFRefinement(Callback):
    """Refines the score maps of a validation while the network computes the next batch.

    The metrics with CRF are logged as ``val/miou_crf`` and so on. If a worker hangs or is killed, a validation during
    training continues without them and logs a warning. Outside training, the validation ends with an error, because
    these metrics are its purpose.

    Args:
        crf: refines the images. For a network that is trained through a CRF, the learned parameters replace its own.
        every_n_validations: run the CRF in every n-th validation of a training; outside training, it always runs.
        first_n: number of images per process to refine, in the loader's order; None for all.
        workers: images refined at the same time; None for one per core.
        time_limit: the longest time to wait for an image, in seconds.

    Raises:
        ValueError: if an argument is not positive.
    """

    def __init__(
        self,
        crf: DenseCRF,
        every_n_validations: int = 1,
        first_n: int | None = None,
        workers: int | None = None,
        time_limit: float = 600,
    ) -> None:
        positive = {"every_n_validations": every_n_validations, "first_n": first_n, "workers": workers}
        for name, value in {**positive, "time_limit": time_limit}.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value}: must be positive")
        self.crf = crf
        self.every_n_validations = every_n_validations
        self.first_n = first_n
        self.workers = workers
        self.time_limit = min(time_limit, threading.TIMEOUT_MAX)  # waiting raises OverflowError for more
        self.pool: RefinementPool | None = None
        self.validations = 0

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validations = state_dict["validations"]

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Check that the CRF fits the network's classes, before time is spent.

        Raises:
            UserError: if the CRF was made for another number of classes.
        """
        assert isinstance(module, Segmenter)
        try:
            self.crf.parameters.check_classes(len(module.classes))
        except ValueError as error:
            raise UserError(f"crf: {error}") from error

    def on_validation_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        due = trainer.state.fn != "fit" or self.validations % self.every_n_validations == 0
        module.validation.refinement = self if due and not trainer.sanity_checking else None
        self.validations += trainer.state.fn == "fit" and not trainer.sanity_checking
        self.trainer, self.network = trainer, module.model
        if self.network.crf is not None:
            self.close()  # its parameters have changed
        for name in [name for name in trainer.callback_metrics if is_crf_metric(name)]:
            del trainer.callback_metrics[name]  # from the last validation, in case this one has no CRF

    def refine_labels(self, image: LabelledImage, scores: Tensor) -> Future[Tensor] | None:
        """Return a future of the image's label map; None after the first n images."""
        if self.first_n is not None and image.position >= self.first_n:
            return None
        if self.pool is None:
            crf = self.network.with_learned(self.crf)  # only now: weight averaging has swapped the weights
            self.pool = RefinementPool(crf, self.workers, time_limit=self.time_limit)
        return self.pool.refine_labels(image.image, scores, score_stride(scores.shape[-2:], image.image.shape[-2:]))

    def give_up(self, error: BaseException) -> None:
        """Log why the CRF's workers were lost; the next validation starts new ones.

        Raises:
            UserError: outside training.
        """
        if isinstance(error, BrokenExecutor):
            cause = "a CRF worker was killed, most likely for lack of memory: lower callbacks.crf.workers"
        else:
            cause = f"the CRF took more than {self.time_limit:g} s for an image: raise callbacks.crf.time_limit"
        self.abandon()
        message = f"validation after {counted(self.trainer.global_step, 'step')}: {cause}, or set crf=none"
        if self.trainer.state.fn != "fit":
            raise UserError(message) from error
        log.warning("%s; training continues, without the CRF's metrics of this validation", message)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        module.validation.refinement = None  # a later validation may be without this callback
        self.close()

    def close(self) -> None:
        """Stop the workers; the next image starts new ones."""
        if self.pool is not None:
            self.pool.close()
            self.pool = None

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Stop the workers without waiting for their images."""
        if self.pool is not None:
            self.pool.abandon()
            self.pool = None
