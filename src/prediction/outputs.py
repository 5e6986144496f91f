"""The files that predict writes: whole or not at all, and never of two minds in one folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from src.data.dataset import Picture
from src.drawing.pictures import indexed_image, overlay
from src.errors import UserError
from src.prediction.predictor import Prediction, Predictor
from src.system.files import replacing

ENDINGS = {"masks": ".png", "overlays": ".jpg", "probabilities": ".npz"}  # by folder in the output
RECORD = "predict.json"


class WriteError(UserError):
    """The output takes no more files; there is no use in going on."""


def save(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file, whole or not at all.

    Raises:
        WriteError: naming the file and the reason.
    """
    try:
        with replacing(path, shared=True) as part, part.open("wb") as file:
            write(file)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written ({error.strerror or error}); the same command goes on") from error


def save_prediction(results: Mapping[str, Path], pixels: Picture, prediction: Prediction, predictor: Predictor) -> None:
    """The kinds of files that ``results`` names."""

    label, palette = prediction.label, predictor.palette
    if path := results.get("masks"):
        save(path, lambda file: indexed_image(label, palette).save(file, "PNG"))
    if path := results.get("overlays"):
        picture = Image.fromarray(overlay(pixels, label, palette))
        save(path, lambda file: picture.save(file, "JPEG", quality=90))
    if path := results.get("probabilities"):
        assert prediction.probabilities is not None
        q, classes = prediction.probabilities.astype(np.float16), np.array(predictor.classes)
        save(path, lambda file: np.savez_compressed(file, probabilities=q, classes=classes))


def check_record(output: Path, settings: Mapping[str, Any], anything_there: bool) -> None:
    """Raise where the folder holds results of other settings, or files of the same names that are not ours.

    Raises:
        UserError: naming what differs, and the remedy.
    """
    remedy = "name another folder, or set overwrite=true"
    path = output / RECORD
    if not path.is_file():
        if anything_there:
            raise UserError(f"output={output}: holds files of these names already, and no {RECORD}; {remedy}")
        return
    before = json.loads(path.read_text())
    if other := [key for key, value in settings.items() if before.get(key) != value]:
        raise UserError(f"output={output}: holds results of another {' and '.join(other)} (see {path}); {remedy}")


def save_record(output: Path, settings: Mapping[str, Any]) -> None:
    text = json.dumps(settings, indent=2) + "\n"
    save(output / RECORD, lambda file: file.write(text.encode()))


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
