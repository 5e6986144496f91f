"""What the page shows of an image: the network's scores, the labels before and after the CRF, and one pixel's view."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from src.crf import DenseCRF
from src.data.dataset import Picture
from src.data.decode import read_image
from src.drawing.html import data_uri
from src.drawing.pictures import indexed_image
from src.labels import LabelMap
from src.prediction.playground.pixel import kernel_from
from src.prediction.playground.scenes import Scene, shrink
from src.prediction.predictor import Predictor
from src.system.errors import UserError

Values = Mapping[str, Any]  # arguments of DenseCRF


class Workbench:
    """Opens images and refines their labels, for many pages at once; the network and the CRF serve one at a time.

    Args:
        predictor: with the network, without a CRF.
        preset: arguments of ``DenseCRF`` at the start, those without a slider included.
        side: longest side in pixels of the images that the network and the CRF get.

    Raises:
        UserError: if the preset is not valid, or was made for other classes.
    """

    def __init__(self, predictor: Predictor, preset: Values, side: int) -> None:
        self.predictor = predictor
        self.preset = preset
        self.side = side
        self.decoding = threading.Lock()  # a file may take a gigabyte while it is decoded
        self.computing = threading.Lock()
        try:
            self.build_crf({}).parameters.check_classes(len(predictor.classes))
        except ValueError as error:
            raise UserError(f"crf: {error}") from error

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes."""
        return self.predictor.classes

    def build_crf(self, values: Values) -> DenseCRF:
        """Return the CRF of the preset with other values.

        Raises:
            UserError: if a value is out of range.
        """
        try:
            return DenseCRF(**{**self.preset, **values})
        except (TypeError, ValueError) as error:
            raise UserError(str(error)) from error

    def open(self, image: Path | Picture) -> Scene:
        """Return an image, shrunk if it is large, with the network's scores.

        Raises:
            UserError: if the file cannot be read, or the scores are not finite.
        """
        with self.decoding:
            pixels = read_image(image) if isinstance(image, Path) else image
            small = shrink(pixels, self.side)
        with self.computing:
            score_map = self.predictor.scores(small).float().cpu()
        return Scene(small, score_map, (pixels.shape[0], pixels.shape[1]))

    def describe(self, scene: Scene) -> dict[str, Any]:
        """Return what the page shows of a scene as long as it is open, for JSON."""
        height, width = scene.size
        label = scene.logits().max(0).indices.byte().numpy()
        return {
            "width": width,
            "height": height,
            "file_width": scene.file_size[1],
            "file_height": scene.file_size[0],
            "image": data_uri(Image.fromarray(scene.pixels), "JPEG"),
            "network": self.draw_labels(label),
            "scores": self.draw_scores(scene),
        }

    def draw_scores(self, scene: Scene, label: int | None = None) -> str:
        """Return a heat map of the network's probability of a class, or of the most probable one, as a data URI."""
        probabilities = scene.logits().softmax(0)
        return draw_heat((probabilities.amax(0) if label is None else probabilities[label]).numpy())

    def refine(self, scene: Scene, values: Values, pixel: tuple[int, int] | None) -> dict[str, Any]:
        """Return the labels after the CRF, and a pixel's view if there is one, for JSON.

        Args:
            values: of the sliders.
            pixel: its (row, column).

        Raises:
            UserError: if a value is out of range.
        """
        start = time.perf_counter()
        crf, image = self.build_crf(values), torch.from_numpy(scene.pixels).permute(2, 0, 1)
        with self.computing:
            if pixel is None:
                after = None
                label = crf.refine_labels(image, scene.score_map, scene.stride).numpy()
            else:
                after = crf(image, logits=scene.logits())
                label = after.max(0).indices.byte().numpy()
        milliseconds = 1000 * (time.perf_counter() - start)
        answer = {"labels": self.draw_labels(label), "milliseconds": milliseconds}
        if pixel is not None and after is not None:
            answer["pixel"] = pixel_view(scene, crf, pixel, after.numpy())
        return answer

    def draw_labels(self, label: LabelMap) -> str:
        """Return a label map in the colours of its classes as a data URI."""
        return encode_png(indexed_image(label, self.predictor.palette))


def pixel_view(
    scene: Scene, crf: DenseCRF, pixel: tuple[int, int], after: Float[np.ndarray, "classes height width"]
) -> dict[str, Any]:
    """Return one pixel's probabilities before and after the CRF, and a heat map of its kernel, for JSON."""
    row, column = pixel
    kernel = kernel_from(scene.pixels, row, column, crf.parameters)
    own = float(kernel[row, column])
    return {
        "row": row,
        "column": column,
        "colour": scene.pixels[row, column].tolist(),
        "before": scene.logits()[:, row, column].softmax(0).tolist(),
        "after": after[:, row, column].tolist(),
        "kernel": draw_heat(np.sqrt(kernel / own if own else kernel)),  # far pixels would be black without the root
        "own": own,
        "others": float(kernel.sum()) - own,
    }


def draw_heat(values: Float[np.ndarray, "height width"]) -> str:
    """Return values from 0 (dark) to 1 (bright) as a picture, a data URI."""
    image = Image.fromarray((255 * values).round().clip(0, 255).astype(np.uint8))
    image.putpalette(heat_colours())
    return encode_png(image)


@cache
def heat_colours() -> bytes:
    """Return the colours of heat maps, RGB of 256 levels."""
    return bytes(matplotlib.colormaps["magma"](np.arange(256), bytes=True)[:, :3].ravel())


def encode_png(image: Image.Image) -> str:
    """Return a picture without loss as a data URI; little compression, because a slider waits for it."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
