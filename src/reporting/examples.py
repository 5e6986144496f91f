"""Choose images, the best and the worst of a sample, and show the predictions of every run for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from src.drawing.html import css_colour, data_uri, shrink_photo, subsampling_step
from src.drawing.pictures import indexed_image
from src.reporting.comparison import ComparedImage, Comparison
from src.reporting.table import Row, Table
from src.system.counted import counted
from src.system.errors import UserError

log = logging.getLogger(__name__)

PagePicture = tuple[Row | None, str, str, float]  # row, title, data URI, the image's mean IoU in % (else NaN)
SIDE = 320  # longest side of a picture on the page, in pixels


@dataclass
class Example:
    """One image with its pictures.

    Attributes:
        pictures: the image and its true labels, followed by the predictions of every row.
        score: the image's mean IoU averaged over rows, in %, with CRF if there is one.
    """

    id: str
    pictures: list[PagePicture]
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


def predict_candidates(
    row: Row, candidates: int, colours: dict[str, str]
) -> list[tuple[str, list[PagePicture], float]]:
    """Return id, pictures and score of every candidate for the row's first run, and add the classes' colours."""
    run = row.runs[0]
    ckpt = Path(run.config["ckpt"]) if run.config["command"] == "evaluate" else run.folder / "checkpoints" / "best.ckpt"
    crf = {key: value for key, value in run.part("crf").items() if key != "_target_"}
    compared = Comparison(ckpt, run.part("dataset"), run.config.get("split", "val"), crf, candidates)
    colours.update(zip(compared.classes, map(css_colour, compared.palette), strict=True))
    log.info("%s: labels for %s", row.label, counted(len(compared), "image"))
    examples = []
    for image in compared:
        pictures = draw_pictures(row, image, compared.palette)
        examples.append((image.id, pictures, pictures[-1][-1]))
    return examples


def draw_pictures(row: Row, compared: ComparedImage, palette: UInt8[np.ndarray, "classes 3"]) -> list[PagePicture]:
    """Return small pictures as data URIs, subsampled so that labels keep their colours."""
    step = subsampling_step(compared.truth.shape, SIDE)

    def encode(label: UInt8[np.ndarray, "height width"]) -> str:
        return data_uri(indexed_image(np.ascontiguousarray(label[::step, ::step]), palette), "PNG")

    photo = data_uri(Image.fromarray(shrink_photo(compared.image, step)), "JPEG")
    pictures: list[PagePicture] = [(None, "image", photo, nan), (None, "truth", encode(compared.truth), nan)]
    for method, label in compared.labels.items():
        pictures.append((row, method, encode(label), 100 * compared.miou[method]))
    return pictures
