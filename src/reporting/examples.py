"""Choose images, the best and the worst of a sample, and show the predictions of every run for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from omegaconf import OmegaConf
from PIL import Image

from src.crf import DenseCRF
from src.drawing.html import css_colour, data_uri, shrink_photo, subsampling_step
from src.drawing.pictures import indexed_image
from src.errors import UserError
from src.labels import VOID, LabelMap
from src.models.geometry import predict_labels
from src.prediction.predictor import Predictor
from src.reporting.table import Row, Table
from src.training.restore import build_dataset, find_untrusted, load_segmenter

log = logging.getLogger(__name__)

Picture = tuple[Row | None, str, str, float]  # row, title, data URI, the image's mean IoU in % (else NaN)
SIDE = 320  # longest side of a picture on the page, in pixels


@dataclass
class Example:
    """One image with its pictures.

    Attributes:
        pictures: the image and its true labels, followed by the predictions of every row.
        score: the image's mean IoU averaged over rows, in %, with CRF if there is one.
    """

    id: str
    pictures: list[Picture]
    score: float = nan


@dataclass
class Gallery:
    """The examples of one table.

    Attributes:
        faults: why rows are missing.
        colours: colours of the classes, in CSS notation.
    """

    best: list[Example]
    worst: list[Example]
    faults: list[str]
    colours: dict[str, str]


def choose_examples(table: Table, count: int, candidates: int) -> Gallery:
    """Return the best and worst of the candidate images.

    Args:
        table: the rows to predict for.
        count: images to show; half of them the best.
        candidates: number of images to choose from, evenly spread over the validation set.
    """
    examples: dict[str, Example] = {}
    faults: list[str] = []
    scores: dict[str, list[float]] = {}
    colours: dict[str, str] = {}
    for row in table.rows:
        try:
            for id_, pictures, score in predict_candidates(row, candidates, colours):
                examples.setdefault(id_, Example(id_, pictures[:2])).pictures += pictures[2:]
                scores.setdefault(id_, []).append(score)
        except (UserError, TypeError, ValueError) as error:
            faults.append(f"{row.label}: {error}")
    for id_, example in examples.items():
        example.score = float(np.nanmean(scores[id_]))
    ranked = sorted(examples.values(), key=lambda example: -example.score)
    best = ranked[: (count + 1) // 2]
    worst = ranked[len(best) :][::-1][: count // 2]
    return Gallery(best, worst, faults, colours)


def predict_candidates(row: Row, candidates: int, colours: dict[str, str]) -> list[tuple[str, list[Picture], float]]:
    """Return id, pictures and score of every candidate for the row's first run, and add the classes' colours."""
    run = row.runs[0]
    ckpt = Path(run.config["ckpt"]) if run.config["command"] == "evaluate" else run.folder / "checkpoints" / "best.ckpt"
    dataset_config = dict(run.part("dataset"))
    if any(
        find_untrusted(dataset_config)
    ):  # the folder may be from elsewhere: use the checkpoint's data set, which is checked too
        dataset_config = {
            "root": None if any(find_untrusted(dataset_config.get("root"))) else dataset_config.get("root")
        }
    split = run.config.get("split", "val")
    dataset = build_dataset(load_segmenter(ckpt), OmegaConf.create(dataset_config), split)
    options = {k: v for k, v in run.part("crf").items() if k != "_target_"}
    predictor = Predictor(ckpt, crf=DenseCRF(**options) if options else None)
    colours.update(zip(predictor.classes, map(css_colour, predictor.palette), strict=True))
    log.info("%s: labels for %d images", row.label, min(candidates, len(dataset)))
    examples = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, candidates).round().astype(int)):
        image, truth, id_ = dataset[int(index)]
        scores = predictor.scores(image)
        raw = predict_labels(scores[None], truth.shape)[0].byte().cpu().numpy()
        labels = {"network": raw}
        if predictor.pool is not None:
            labels["network + CRF"] = predictor.refine(image, scores).label
        pictures = draw_pictures(row, predictor, image, truth, labels)
        examples.append((id_, pictures, pictures[-1][-1]))
    return examples


def draw_pictures(
    row: Row,
    predictor: Predictor,
    image: UInt8[np.ndarray, "height width 3"],
    truth: LabelMap,
    labels: dict[str, LabelMap],
) -> list[Picture]:
    """Return small pictures as data URIs, subsampled so that labels keep their colours."""
    step = subsampling_step(truth.shape, SIDE)

    def encode(label: LabelMap) -> str:
        return data_uri(indexed_image(np.ascontiguousarray(label[::step, ::step]), predictor.palette), "PNG")

    photo = data_uri(Image.fromarray(shrink_photo(image, step)), "JPEG")
    pictures: list[Picture] = [(None, "image", photo, nan), (None, "truth", encode(truth), nan)]
    for title, label in labels.items():
        pictures.append((row, title, encode(label), 100 * image_miou(truth, label, len(predictor.classes))))
    return pictures


def image_miou(truth: LabelMap, label: LabelMap, classes: int) -> float:
    """Return the mean IoU over the classes in the true or predicted labels, without void; NaN if all is void."""
    counts = truth != VOID
    pair = np.bincount(classes * truth[counts].astype(int) + label[counts], minlength=classes**2)
    confusion = pair.reshape(classes, classes)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    return float(np.mean((np.diag(confusion)[union > 0]) / union[union > 0])) if union.any() else nan
