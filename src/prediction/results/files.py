"""Write the results of each image."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from src.data.dataset import Picture
from src.drawing.pictures import indexed_image, overlay
from src.prediction.predictor import Prediction, Predictor
from src.prediction.results.annotations import labelme_content
from src.system.errors import UserError
from src.system.files import replacing

ENDINGS = {"masks": ".png", "overlays": ".jpg", "probabilities": ".npz", "labelme": ".json"}  # by folder
CLASS_LIST = "labels.txt"  # in labelme's folder


class WriteError(UserError):
    """Raised if a result cannot be written, for example on a full disk: no other image can succeed."""


def save(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file atomically.

    Raises:
        WriteError: with the file and the reason.
    """
    try:
        with replacing(path, shared=True) as part, part.open("wb") as file:
            write(file)
    except OSError as error:
        reason = error.strerror or error
        raise WriteError(f"{path}: cannot be written ({reason}); run the same command again to continue") from error


class ImageJob(NamedTuple):
    """One image to label.

    Attributes:
        image: path of the image.
        name: the path, relative to the folder of all images.
        results: output path of each kind of result: masks, overlays, probabilities, labelme.
    """

    image: Path
    name: str
    results: dict[str, Path]


def save_prediction(job: ImageJob, pixels: Picture, prediction: Prediction, predictor: Predictor) -> None:
    """Write the results of one image.

    Args:
        job: the paths of the image and its results.
        pixels: the image, for overlays.
        prediction: the prediction to write.
        predictor: provides the palette and the classes.

    Raises:
        WriteError: if a file cannot be written.
    """
    label, palette, results = prediction.label, predictor.palette, job.results
    if path := results.get("masks"):
        save(path, lambda file: indexed_image(label, palette).save(file, "PNG"))
    if path := results.get("overlays"):
        picture = Image.fromarray(overlay(pixels, label, palette))
        save(path, lambda file: picture.save(file, "JPEG", quality=90))
    if path := results.get("probabilities"):
        assert prediction.probabilities is not None
        q, classes = prediction.probabilities.astype(np.float16), np.array(predictor.classes)
        save(path, lambda file: np.savez_compressed(file, probabilities=q, classes=classes))
    if path := results.get("labelme"):
        image = Path(os.path.relpath(job.image.absolute(), path.parent.absolute())).as_posix()
        save_json(path, labelme_content(label, predictor.classes, image))


def save_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write a JSON file atomically.

    Raises:
        WriteError: with the file and the reason.
    """
    text = json.dumps(content, indent=indent) + "\n"
    save(path, lambda file: file.write(text.encode()))


def save_class_list(folder: Path, classes: Sequence[str]) -> None:
    """Write the class names, in order, for ``labelme --labels labels.txt`` and prepare."""
    save(folder / CLASS_LIST, lambda file: file.write("".join(f"{name}\n" for name in classes).encode()))
