"""Dense CRF inside the validation loop."""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import TimeoutError as WaitedTooLong
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.errors import UserError
from src.models.geometry import score_stride
from src.training.datamodule import Batch
from src.training.segmenter import Segmenter
from src.training.validation import METHODS, Results

log = logging.getLogger(__name__)


class CRFRefinement(Callback):
    """Refines validation predictions while the network goes on with the next batch; logs ``val/miou_crf`` and the like.

    What comes of a batch is also put into the outputs of its validation step, as ``refined``: futures of label maps,
    for callbacks further down the list. Where a worker hangs or is killed, a validation within training goes without
    the CRF's figures and says so; one by itself, whose purpose they are, ends with an error.

    Args:
        crf: with its parameters and engine.
        every_n_validations: skip the others; a validation outside of training is never skipped.
        first_n: only so many images of each process, in the loader's order; None for all.
        workers: images at a time; None for one a core.
        time_limit: seconds to wait for an image at most.
    """

    def __init__(
        self,
        crf: DenseCRF,
        every_n_validations: int = 1,
        first_n: int | None = None,
        workers: int | None = None,
        time_limit: float = 600,
    ) -> None:
        if every_n_validations < 1 or (first_n is not None and first_n < 1):
            raise ValueError("callbacks.crf: every_n_validations and first_n must be positive")
        self.crf = crf
        self.every_n_validations = every_n_validations
        self.first_n = first_n
        self.workers = workers
        self.time_limit = time_limit
        self.pool: RefinementPool | None = None
        self.validations = 0
        self.active = False
        self.under_way: deque[tuple[Future[Tensor], Tensor]] = deque()

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validations = state_dict["validations"]

    def on_validation_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        if trainer.sanity_checking:
            self.active = False
            return
        self.active = not trainer.training or self.validations % self.every_n_validations == 0
        self.validations += trainer.state.fn == "fit"
        self.submitted = 0
        self.metrics = deepcopy(module.metrics)  # counts what the module counts
        self.metrics.reset()
        for name in [name for name in trainer.callback_metrics if "_crf" in name]:
            del trainer.callback_metrics[name]  # the last validation's, should this one have none
        if self.active and self.pool is None:
            self.pool = RefinementPool(self.crf, self.workers, time_limit=self.time_limit)

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        if not self.active or self.pool is None:
            return
        outputs["refined"] = []
        with self.surviving(trainer):
            for image, label, scores in zip(batch["image"], batch["label"], outputs["scores"], strict=True):
                if self.submitted == self.first_n:
                    break
                future = self.pool.refine(image, scores, score_stride(scores.shape[-2:], image.shape[-2:]))
                self.submitted += 1
                self.under_way.append((future, label))
                outputs["refined"].append(future)
            while self.under_way and self.under_way[0][0].done():
                self.count(*self.under_way.popleft())

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        if trainer.sanity_checking:
            return
        with self.surviving(trainer):
            while self.under_way:
                self.count(*self.under_way.popleft())
        if trainer.strategy.reduce_boolean_decision(self.active):  # figures of all processes or none
            module.log_metrics(self.metrics, suffix="_crf")

    def count(self, future: Future[Tensor], label: Tensor) -> None:
        self.metrics.update(future.result(self.time_limit).to(label.device), label)

    @contextmanager
    def surviving(self, trainer: Trainer) -> Iterator[None]:
        """Give up this validation's refinement where a worker is lost; the next one has new workers."""
        try:
            yield
        except (WaitedTooLong, BrokenExecutor) as error:
            if isinstance(error, BrokenExecutor):
                what = "a CRF worker was killed, most likely for lack of memory: lower callbacks.crf.workers"
            else:
                what = f"the CRF took more than {self.time_limit:g} s for an image: raise callbacks.crf.time_limit"
            self.abandon()
            self.active = False
            line = f"validation after {trainer.global_step} iterations: {what}, or set crf=none"
            if trainer.state.fn != "fit":
                raise UserError(line) from error
            log.warning("%s; it goes without the CRF's figures, training goes on", line)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if self.pool is not None:
            self.pool.close()
            self.pool = None

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.abandon()

    def abandon(self) -> None:
        self.under_way.clear()
        if self.pool is not None:
            self.pool.abandon()
            self.pool = None


def validation_results(module: Segmenter, trainer: Trainer) -> Results:
    """What the last validation counted, on the CPU: the network's, and the CRF's where it ran; on every process."""
    callbacks = vars(trainer)["callbacks"]  # which Lightning gives no type
    refined = [c.metrics for c in callbacks if isinstance(c, CRFRefinement) and c.active]
    computed = [{k: v.cpu() for k, v in metrics.compute().items()} for metrics in (module.metrics, *refined)]
    return dict(zip(METHODS, computed, strict=False))
