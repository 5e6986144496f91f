"""The results of a validation: the Segmenter adds batches, CRFRefinement refines their scores, callbacks read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from src.metrics import BoundaryMetrics, SegmentationMetrics, TrimapMetrics
from src.models.geometry import predict_labels
from src.runs.metric_names import CRF, NETWORK, Method, metric_name
from src.system.futures import OrderedFutures
from src.training.datamodule import Batch

Results = Mapping[Method, Mapping[str, Tensor]]  # the metrics of each method by name, on the CPU


class LabelledImage(NamedTuple):
    """One image of a validation, with its true labels and the prediction of one method."""

    position: int  # counted from 0, in the order of this process
    id: str
    image: UInt8[Tensor, "3 height width"]
    truth: UInt8[Tensor, "height width"]
    method: Method
    prediction: Tensor  # (height, width), integer
    unrefined: Tensor | None = None  # the network's prediction before the CRF, if the method is the CRF


class Refinement(Protocol):
    """Refines score maps while the network computes the next ones."""

    time_limit: float

    def refine_labels(self, image: LabelledImage, scores: Tensor) -> Future[Tensor] | None:
        """Return a future of the image's refined label map; None if the image is not to be refined."""

    def give_up(self, error: BaseException) -> None:
        """Stop refining because a worker was lost; raise an error if the validation is pointless without the CRF."""


class Validation:
    """Counts and predictions of one validation, by method.

    ``compute`` waits for the images that the CRF is still refining, so the order of callbacks does not matter.

    Args:
        classes: names of the classes.

    Attributes:
        readers: functions that are called with every ``LabelledImage`` as soon as it is predicted.
        refinement: refines the score maps of the next validation; None for the network alone.
        measures_boundaries: whether to compute the trimap metrics and the boundary F-measure, which take longer.
        trimap_width: width of the widest trimap band, in pixels.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.readers: list[Callable[[LabelledImage], None]] = []
        self.refinement: Refinement | None = None
        self.measures_boundaries = False
        self.trimap_width = 40
        self.metrics: dict[Method, Metric | MetricCollection] = {}
        self.computed: Results | None = None
        self.agree: Callable[[bool], bool] = bool
        self.waiting = OrderedFutures(self.count_refined)

    def __deepcopy__(self, memo: dict[int, Any]) -> Validation:
        """Return an empty validation: a copy of a network, such as the average of its weights, has no results yet."""
        return Validation(self.classes)

    def begin(self, device: torch.device, agree: Callable[[bool], bool] = bool) -> None:
        """Reset all counts.

        Args:
            device: device of the predictions.
            agree: returns whether a condition holds on all processes; called once, when ``compute`` is first called.
        """
        self.agree = agree
        self.computed = None
        self.waiting.clear()
        methods = (NETWORK, CRF) if self.refinement is not None else (NETWORK,)
        self.metrics = {method: self.new_metrics().to(device) for method in methods}

    def new_metrics(self) -> Metric | MetricCollection:
        """Return empty counts."""
        count = len(self.classes)
        if not self.measures_boundaries:
            return SegmentationMetrics(count)
        return MetricCollection([TrimapMetrics(count, self.trimap_width), BoundaryMetrics(count)], compute_groups=False)

    def add(self, positions: Sequence[int], batch: Batch, scores: Float[Tensor, "batch classes rows columns"]) -> None:
        """Count the network's predictions of a batch, and submit its score maps to the CRF.

        Args:
            positions: of the images, counted from 0, in the order of this process.
            batch: images of one size, with their true labels.
            scores: the score maps of the images.
        """
        predictions = predict_labels(scores, batch["label"].shape[-2:])
        self.metrics[NETWORK].update(predictions, batch["label"])
        images = zip(positions, batch["id"], batch["image"], batch["label"], predictions, strict=True)
        for (position, id_, pixels, truth, prediction), score_map in zip(images, scores, strict=True):
            image = LabelledImage(position, id_, pixels, truth, NETWORK, prediction)
            self.publish(image)
            with self.survive_lost_workers():
                if (
                    self.refinement is not None
                    and (future := self.refinement.refine_labels(image, score_map)) is not None
                ):
                    self.waiting.add(future, image._replace(method=CRF))

    def wait(self) -> None:
        """Wait for the images of this process that are still being refined."""
        with self.survive_lost_workers():
            self.waiting.finish()

    def compute(self) -> Results:
        """Return the metrics over all processes, by method; without the CRF if any process has lost its workers.

        The first call waits for this process's images and then for the other processes, so all must make it.
        """
        if self.computed is None:
            self.wait()
            if not self.agree(CRF in self.metrics):
                self.metrics.pop(CRF, None)
            self.computed = {
                method: {key: value.cpu() for key, value in metrics.compute().items()}
                for method, metrics in self.metrics.items()
            }
        return self.computed

    def count_refined(self, future: Future[Tensor], image: LabelledImage) -> None:
        """Count an image that has been refined, waiting for it if necessary."""
        assert self.refinement is not None
        prediction = future.result(self.refinement.time_limit).to(image.truth.device)
        self.metrics[CRF].update(prediction, image.truth)
        self.publish(image._replace(prediction=prediction, unrefined=image.prediction))

    def publish(self, image: LabelledImage) -> None:
        """Pass an image to all readers."""
        for reader in self.readers:
            reader(image)

    @contextmanager
    def survive_lost_workers(self) -> Iterator[None]:
        """Continue without the CRF if one of its workers hangs or is killed in the block."""
        try:
            yield
        except (FutureTimeout, BrokenExecutor) as error:
            refinement, self.refinement = self.refinement, None
            self.waiting.clear()
            self.metrics.pop(CRF, None)
            assert refinement is not None
            refinement.give_up(error)


def collect_metrics(
    results: Results, classes: Sequence[str], split: str = "val", by_class: Sequence[str] = ("iou",)
) -> dict[str, float]:
    """Return the metrics of a validation by name: SPLIT/miou, SPLIT/miou_crf, SPLIT/iou/CLASS, ...

    Args:
        results: the metrics by method.
        classes: names of the classes.
        split: first part of every name.
        by_class: the metrics to return by class.
    """
    metrics = {}
    for method, values in results.items():
        for metric in ("miou", "pixel_accuracy", "mean_accuracy", "mean_boundary_f"):
            if metric in values:
                metrics[metric_name(metric, method, split)] = float(values[metric])
        for metric in by_class:
            for class_, value in zip(classes, values[metric].tolist(), strict=True):
                metrics[metric_name(metric, method, split, class_)] = value
    return metrics


def has_trimap(results: Results) -> bool:
    """Return whether any band around void contains pixels."""
    return not results[NETWORK]["trimap_miou"].isnan().all()
