"""Write the metrics of each image, and a page of the worst images."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isnan, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image

from src.drawing.html import css_colour, data_uri, render, shrink_photo, subsampling_step
from src.drawing.pictures import Picture, indexed_image
from src.labels import VOID, LabelMap
from src.metrics.confusion import confusion_matrix, ratios
from src.runs.metric_files import write_csv
from src.runs.metric_names import CRF, METHODS, NETWORK, Method, column_name
from src.system.files import write_text
from src.training.segmenter import Segmenter
from src.training.validation import LabelledImage

SIDE = 480  # longest side of a picture on the page, in pixels
RIGHT, WRONG, CORRECTED, SPOILED = range(4)  # the labels of an error map
ERROR_COLOURS = np.array([(214, 219, 224), (200, 40, 40), (60, 160, 90), (240, 150, 30)], np.uint8)
ERROR_NAMES = {WRONG: "wrong", CORRECTED: "corrected by the CRF", SPOILED: "made wrong by the CRF"}


@dataclass
class ImageMetrics:
    """The metrics of one image by method: miou, pixel_accuracy, and iou by class (NaN for absent classes)."""

    id: str
    values: dict[Method, dict[str, Any]] = field(default_factory=dict)

    @property
    def last(self) -> dict[str, Any]:
        """The metrics with CRF if the image was refined, otherwise those of the network."""
        return self.values[CRF if CRF in self.values else NETWORK]

    @property
    def miou(self) -> float:
        """The last mean IoU; NaN if all pixels are void."""
        return self.last["miou"]


class WorstImage(NamedTuple):
    """A reduced image for the page; in a heap, the image with the highest mean IoU comes first.

    Attributes:
        badness: the negative mean IoU.
        id, position: id and index of the image.
        photo: the image.
        labels: label maps by title, the true labels first and the error map last.
    """

    badness: float
    id: str
    position: int
    photo: Picture
    labels: dict[str, LabelMap]


class ImageScores(Callback):
    """Writes images.csv, the metrics of each image, worst first, and worst.html, pictures of the worst images.

    Images are sorted by their mean IoU over the classes in their true or predicted labels. If the CRF runs, its result
    is used, and the page shows only images that it refines. If no image has labels, nothing is written.

    Args:
        folder: output folder.
        worst: number of images on the page; 0 for no page.

    Raises:
        ValueError: if ``worst`` is negative or not a whole number.
    """

    def __init__(self, folder: str, worst: int = 12) -> None:
        if worst < 0 or worst % 1:
            raise ValueError(f"worst={worst}: must be a whole number, 0 or more")
        self.folder = Path(folder)
        self.count = worst
        self.metrics: dict[int, ImageMetrics] = {}  # by position
        self.worst: list[WorstImage] = []  # a heap

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        self.palette = module.palette.numpy()
        self.validation = module.validation
        self.validation.readers.append(self.add)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self.validation.readers.remove(self.add)

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.metrics, self.worst = {}, []

    def add(self, image: LabelledImage) -> None:
        """Compute the metrics of an image, and keep it if it is one of the worst so far."""
        counts = confusion_matrix(image.prediction, image.truth, len(self.palette))
        values = {key: value.cpu().numpy() for key, value in ratios(counts).items()}
        metrics = self.metrics.setdefault(image.position, ImageMetrics(image.id))
        metrics.values[image.method] = {
            "miou": float(values["miou"]),
            "pixel_accuracy": float(values["pixel_accuracy"]),
            "iou": values["iou"].astype(np.float32),
        }
        if image.method == NETWORK and self.validation.refinement is not None:
            return  # the refined label map follows
        badness = -metrics.miou
        if len(self.worst) < self.count and not isnan(badness):
            heapq.heappush(self.worst, shrink(image, badness))
        elif self.worst and badness > self.worst[0].badness:
            heapq.heapreplace(self.worst, shrink(image, badness))

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        module.validation.wait()
        parts = gather((list(self.metrics.values()), self.worst), trainer.world_size)
        metrics = sorted((image for part, _ in parts for image in part), key=order)
        if trainer.is_global_zero and not all(isnan(image.miou) for image in metrics):
            write_csv(self.folder / "images.csv", image_columns(metrics, module.classes))
            worst = sorted((image for _, part in parts for image in part), key=lambda image: (-image.badness, image.id))
            worst = worst[: self.count]
            if worst:
                write_page(self.folder / "worst.html", worst, metrics, module.classes, self.palette)


def gather(value: Any, world_size: int) -> list[Any]:
    """Return the values of all processes."""
    if world_size == 1:
        return [value]
    values: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(values, value)
    return values


def order(metrics: ImageMetrics) -> tuple[float, str]:
    """Return a sort key: by mean IoU, with unlabelled images last."""
    return inf if isnan(metrics.miou) else metrics.miou, metrics.id


def shrink(image: LabelledImage, badness: float) -> WorstImage:
    """Return a reduced image with its true and predicted labels and its error map."""
    pixels, truth, prediction = (
        tensor.cpu().numpy().astype(np.uint8)
        for tensor in (image.image.permute(1, 2, 0), image.truth, image.prediction)
    )
    labels = {"truth": truth}
    if image.unrefined is not None:
        labels[NETWORK.title] = image.unrefined.cpu().numpy().astype(np.uint8)
    labels[image.method.title] = prediction
    labels["errors"] = error_map(truth, labels[NETWORK.title], prediction)
    step = subsampling_step(truth.shape, SIDE)
    small = {title: label[::step, ::step].copy() for title, label in labels.items()}
    return WorstImage(badness, image.id, image.position, shrink_photo(pixels, step), small)


def error_map(truth: LabelMap, network: LabelMap, refined: LabelMap) -> LabelMap:
    """Return a map of pixels that are right, wrong, corrected by the CRF or spoiled by it; void stays void.

    Args:
        truth: true labels.
        network: labels predicted by the network.
        refined: labels with CRF; the network's labels if there is no CRF.
    """
    before, after = network != truth, refined != truth
    errors = np.where(after, np.where(before, WRONG, SPOILED), np.where(before, CORRECTED, RIGHT))
    return np.where(truth == VOID, VOID, errors).astype(np.uint8)


def image_columns(metrics: Sequence[ImageMetrics], classes: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns of images.csv by title, as fractions; NaN where an image has no value."""
    methods = [method for method in METHODS if any(method in image.values for image in metrics)]
    columns: dict[str, list[Any]] = {"image": [image.id for image in metrics]}
    for name in ("miou", "pixel_accuracy"):
        for method in methods:
            columns[column_name(name, method)] = [image.values.get(method, {}).get(name, nan) for image in metrics]
    absent = np.full(len(classes), nan)
    for method in methods:
        table = np.stack([image.values.get(method, {}).get("iou", absent) for image in metrics])
        for class_, column in zip(classes, table.T.tolist(), strict=True):
            columns[f"{column_name('iou', method)}/{class_}"] = [round(value, 6) for value in column]
    return columns


def write_page(
    path: Path,
    worst: Sequence[WorstImage],
    metrics: Sequence[ImageMetrics],
    classes: Sequence[str],
    palette: np.ndarray,
) -> None:
    """Write the page of the worst images."""
    by_id = {image.id: image for image in metrics}
    refined = any(CRF in image.values for image in metrics)
    values: dict[str, Any] = {
        "images": [(image.id, draw(image, palette), figures(by_id[image.id], classes)) for image in worst],
        "total": len(metrics),
        "refined": refined,
        "colours": {name: css_colour(colour) for name, colour in zip(classes, palette, strict=True)},
        "errors": {
            name: css_colour(ERROR_COLOURS[kind]) for kind, name in ERROR_NAMES.items() if refined or kind == WRONG
        },
    }
    write_text(path, render(Path(__file__).with_name("worst.html.jinja"), **values))


def draw(image: WorstImage, palette: np.ndarray) -> dict[str, str]:
    """Return the pictures of an image by title, as data URIs."""
    photo = data_uri(Image.fromarray(image.photo), "JPEG")
    colours = {title: ERROR_COLOURS if title == "errors" else palette for title in image.labels}
    pictures = {title: indexed_image(label, colours[title]) for title, label in image.labels.items()}
    return {"image": photo, **{title: data_uri(picture, "PNG") for title, picture in pictures.items()}}


def figures(image: ImageMetrics, classes: Sequence[str]) -> Mapping[str, Any]:
    """Return the figures of an image on the page, in %: mean IoU by method title, and the IoU of its worst classes."""
    ious = zip(classes, image.last["iou"], strict=True)
    by_class = [(100 * float(iou), name) for name, iou in ious if not isnan(iou)]
    return {
        "miou": {method.title: 100 * values["miou"] for method, values in image.values.items()},
        "classes": [(name, iou) for iou, name in sorted(by_class)[:4]],
    }
