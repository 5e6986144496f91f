"""Dense CRF inside the validation loop."""

from collections import deque
from concurrent.futures import Future
from copy import deepcopy
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.data.datamodule import Batch
from src.models.geometry import score_stride
from src.results import METHODS, Results
from src.segmenter import Segmenter


class CRFRefinement(Callback):
    """Refines validation predictions while the network goes on with the next batch; logs ``val/miou_crf`` and the like.

    What comes of a batch is also put into the outputs of its validation step, as ``refined``: futures of label maps,
    for callbacks further down the list.

    Args:
        crf: with its parameters and engine.
        every_n_validations: skip the others; a validation outside of training is never skipped.
        first_n: only so many images of each process, in the loader's order; None for all.
        workers: images at a time; None for one a core.
    """

    def __init__(
        self, crf: DenseCRF, every_n_validations: int = 1, first_n: int | None = None, workers: int | None = None
    ) -> None:
        if every_n_validations < 1 or (first_n is not None and first_n < 1):
            raise ValueError("callbacks.crf: every_n_validations and first_n must be positive")
        self.crf = crf
        self.every_n_validations = every_n_validations
        self.first_n = first_n
        self.workers = workers
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
        if self.active and self.pool is None:
            self.pool = RefinementPool(self.crf, self.workers)

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        if not self.active or self.pool is None:
            return
        outputs["refined"] = []
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
        if self.active:
            while self.under_way:
                self.count(*self.under_way.popleft())
            module.log_metrics(self.metrics, suffix="_crf")

    def count(self, future: Future[Tensor], label: Tensor) -> None:
        self.metrics.update(future.result().to(label.device), label)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self.close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        for future, _ in self.under_way:
            future.cancel()
        self.close()

    def close(self) -> None:
        self.under_way.clear()
        if self.pool is not None:
            self.pool.close()
            self.pool = None


def validation_results(module: Segmenter, trainer: Trainer) -> Results:
    """What the last validation counted, on the CPU: the network's, and the CRF's where it ran; on every process."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    refined = [c.metrics for c in callbacks if isinstance(c, CRFRefinement) and c.active]
    computed = [{k: v.cpu() for k, v in metrics.compute().items()} for metrics in (module.metrics, *refined)]
    return dict(zip(METHODS, computed, strict=False))
