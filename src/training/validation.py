"""What a validation finds: the Segmenter feeds it, CRFRefinement refines for it, callbacks read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import TimeoutError as WaitedTooLong
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from src.metrics import SegmentationMetrics, TrimapMetrics
from src.models.geometry import upsample_scores
from src.runs.figures import CRF, NETWORK, Method, figure_name
from src.system.futures import OrderedFutures
from src.training.datamodule import Batch

Results = Mapping[Method, Mapping[str, Tensor]]  # by method: what SegmentationMetrics.compute gives, on the CPU


class LabelledImage(NamedTuple):
    """One image of a validation, its truth, and the label map that a method gave it."""

    place: int  # in the order of this process, from 0
    id: str
    image: UInt8[Tensor, "3 height width"]
    truth: UInt8[Tensor, "height width"]
    method: Method
    label: Tensor  # (height, width), integer


class Refinement(Protocol):
    """What refines score maps while the network goes on."""

    time_limit: float

    def submit(self, image: Tensor, scores: Tensor) -> Future[Tensor] | None:
        """Return a future of the image's label map; None where it is not to be refined."""

    def give_up(self, error: BaseException) -> None:
        """Stop refining after a worker was lost; raises where a validation makes no sense without."""


class Validation:
    """Counts and label maps of one validation, by method.

    ``results`` waits for the images that the CRF is still refining, so that nothing depends on the order of callbacks.

    Args:
        classes: their names.

    Attributes:
        readers: functions that get every ``LabelledImage`` as soon as there is one.
        refinement: refines the next validation's score maps; None for the network alone.
        trimap: widest band around void to count in, in pixels; 0 for none.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.readers: list[Callable[[LabelledImage], None]] = []
        self.refinement: Refinement | None = None
        self.trimap = 0
        self.metrics: dict[Method, SegmentationMetrics] = {}
        self.waiting = OrderedFutures(self.count_refined)

    def __deepcopy__(self, memo: dict[int, Any]) -> Validation:
        """A copy of a network, such as the average of its weights, has found nothing yet."""
        return Validation(self.classes)

    def begin(self, device: torch.device, agree: Callable[[bool], bool] = bool) -> None:
        """Start anew.

        Args:
            device: of the predictions.
            agree: whether something holds on all processes; called once, by the first reader of ``results``.
        """
        self.agree = agree
        self.images = 0
        self.computed: Results | None = None
        self.waiting.clear()
        methods = (NETWORK, CRF) if self.refinement is not None else (NETWORK,)
        self.metrics = {method: self.new_metrics().to(device) for method in methods}

    def new_metrics(self) -> SegmentationMetrics:
        count = len(self.classes)
        return TrimapMetrics(count, self.trimap) if self.trimap else SegmentationMetrics(count)

    def add(self, batch: Batch, scores: Float[Tensor, "batch classes rows columns"]) -> None:
        """Count a batch, and hand its score maps to the CRF."""
        predictions = upsample_scores(scores, batch["label"].shape[-2:]).argmax(dim=1)
        self.metrics[NETWORK].update(predictions, batch["label"])
        images = zip(batch["id"], batch["image"], batch["label"], predictions, scores, strict=True)
        for id_, image, truth, prediction, score_map in images:
            found = LabelledImage(self.images, id_, image, truth, NETWORK, prediction)
            self.images += 1
            self.publish(found)
            with self.surviving_lost_workers():
                if self.refinement is not None and (future := self.refinement.submit(image, score_map)) is not None:
                    self.waiting.add(future, found._replace(method=CRF))

    def wait(self) -> None:
        """Wait for the images of this process that are still being refined."""
        with self.surviving_lost_workers():
            self.waiting.finish()

    @property
    def results(self) -> Results:
        """What was counted on all processes, by method; without the CRF where any process has lost its workers."""
        if self.computed is None:
            self.wait()
            if not self.agree(CRF in self.metrics):
                self.metrics.pop(CRF, None)
            self.computed = {
                method: {key: value.cpu() for key, value in metrics.compute().items()}
                for method, metrics in self.metrics.items()
            }
        return self.computed

    def count_refined(self, future: Future[Tensor], found: LabelledImage) -> None:
        """Count an image that has been refined, or is about to be."""
        assert self.refinement is not None
        label = future.result(self.refinement.time_limit).to(found.truth.device)
        self.metrics[CRF].update(label, found.truth)
        self.publish(found._replace(label=label))

    def publish(self, found: LabelledImage) -> None:
        for reader in self.readers:
            reader(found)

    @contextmanager
    def surviving_lost_workers(self) -> Iterator[None]:
        """Go on without the CRF where one of its workers hangs or was killed."""
        try:
            yield
        except (WaitedTooLong, BrokenExecutor) as error:
            refinement, self.refinement = self.refinement, None
            self.waiting.clear()
            self.metrics.pop(CRF, None)
            assert refinement is not None
            refinement.give_up(error)


def figures_of(
    results: Results, classes: Sequence[str], split: str = "val", by_class: Sequence[str] = ("iou",)
) -> dict[str, float]:
    """Return the figures of a validation by name: SPLIT/miou, SPLIT/miou_crf, SPLIT/iou/CLASS, ..."""
    figures = {}
    for method, values in results.items():
        for figure in ("miou", "pixel_accuracy", "mean_accuracy"):
            figures[figure_name(figure, method, split)] = float(values[figure])
        for figure in by_class:
            for class_, value in zip(classes, values[figure].tolist(), strict=True):
                figures[figure_name(figure, method, split, class_)] = value
    return figures


def has_trimap(results: Results) -> bool:
    """Tell whether any band around void holds pixels."""
    return not results[NETWORK]["trimap_miou"].isnan().all()
