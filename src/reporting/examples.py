"""The same images under every run, raw and with CRF: the best and the worst of a spread of the validation set."""

from __future__ import annotations

import base64
import io
import logging
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from omegaconf import OmegaConf
from PIL import Image

from src.crf import DenseCRF
from src.drawing.pictures import indexed_image
from src.errors import UserError
from src.labels import VOID, LabelMap
from src.models.geometry import upsample_scores
from src.prediction.predictor import Predictor
from src.reporting.table import Row, Table
from src.training.restore import dataset_of, load_segmenter, untrusted

log = logging.getLogger(__name__)

Picture = tuple[Row | None, str, str, float]  # row, title, data URI, the image's mean IoU in %; nan where it has none
SIDE = 320  # pixels, of a picture on the page


@dataclass
class Example:
    """One image.

    Attributes:
        pictures: image and truth, and then those of every row.
        score: mean over rows of the image's own mean IoU, in %, with CRF where there is one.
    """

    id: str
    pictures: list[Picture]
    score: float = nan


@dataclass
class Gallery:
    """Of one table.

    Attributes:
        faults: why rows are missing.
        colours: by class, as CSS writes them.
    """

    best: list[Example]
    worst: list[Example]
    faults: list[str]
    colours: dict[str, str]


def choose_examples(table: Table, count: int, candidates: int) -> Gallery:
    """Best and worst of the candidates.

    Args:
        count: images to show; half of them the best.
        candidates: images that are labelled to choose from, evenly spread over the validation set.
    """
    examples: dict[str, Example] = {}
    faults: list[str] = []
    scores: dict[str, list[float]] = {}
    colours: dict[str, str] = {}
    for row in table.rows:
        try:
            for id_, pictures, score in labelled(row, candidates, colours):
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


def labelled(row: Row, candidates: int, colours: dict[str, str]) -> list[tuple[str, list[Picture], float]]:
    """Pictures of every candidate under the row's first run; the colours of the classes are put into ``colours``."""

    run = row.runs[0]
    ckpt = Path(run.config["ckpt"]) if run.config["command"] == "evaluate" else run.folder / "checkpoints" / "best.ckpt"
    given = dict(run.part("dataset"))
    if any(untrusted(given)):  # a folder from elsewhere: the checkpoint's data set, which is checked likewise
        given = {"root": None if any(untrusted(given.get("root"))) else given.get("root")}
    split = run.config.get("split", "val")
    dataset = dataset_of(load_segmenter(ckpt), OmegaConf.create(given), split)
    options = {k: v for k, v in run.part("crf").items() if k != "_target_"}
    predictor = Predictor(ckpt, crf=DenseCRF(**options) if options else None)
    colours.update(
        (c, "#{:02x}{:02x}{:02x}".format(*rgb)) for c, rgb in zip(predictor.classes, predictor.palette, strict=True)
    )
    log.info("%s: labels for %d images", row.label, min(candidates, len(dataset)))
    found = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, candidates).round().astype(int)):
        image, truth, id_ = dataset[int(index)]
        scores = predictor.scores(image)
        raw = upsample_scores(scores[None], truth.shape)[0].argmax(0).byte().cpu().numpy()
        labels = {"network": raw}
        if predictor.pool is not None:
            labels["network + CRF"] = predictor.refine(image, scores).label
        pictures = pictures_of(row, predictor, image, truth, labels)
        found.append((id_, pictures, pictures[-1][-1]))
    return found


def pictures_of(
    row: Row,
    predictor: Predictor,
    image: UInt8[np.ndarray, "height width 3"],
    truth: LabelMap,
    labels: dict[str, LabelMap],
) -> list[Picture]:
    """Small ones, as data URIs: every so many pixels, so that labels keep their colours."""
    step = max(1, -(-max(truth.shape) // SIDE))

    def drawn(label: LabelMap) -> str:
        return data_uri(indexed_image(np.ascontiguousarray(label[::step, ::step]), predictor.palette), "PNG")

    height, width = image.shape[:2]
    photo = Image.fromarray(image).resize((-(-width // step), -(-height // step)))
    pictures: list[Picture] = [(None, "image", data_uri(photo, "JPEG"), nan), (None, "truth", drawn(truth), nan)]
    for title, label in labels.items():
        pictures.append((row, title, drawn(label), 100 * image_miou(truth, label, len(predictor.classes))))
    return pictures


def data_uri(picture: Image.Image, kind: str) -> str:
    """The picture as part of a page."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=82, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def image_miou(truth: LabelMap, label: LabelMap, classes: int) -> float:
    """Mean over the classes that are in the truth or the label; void does not count; nan where all is void."""
    counts = truth != VOID
    pair = np.bincount(classes * truth[counts].astype(int) + label[counts], minlength=classes**2)
    confusion = pair.reshape(classes, classes)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    return float(np.mean((np.diag(confusion)[union > 0]) / union[union > 0])) if union.any() else nan
