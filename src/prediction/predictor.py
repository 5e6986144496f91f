"""Predict the labels of images with a trained network, in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.data.dataset import Picture
from src.data.decode import read_image, to_rgb
from src.labels import LabelMap
from src.models import Inference
from src.models.folding import fold_batch_norm
from src.models.geometry import predict_labels, score_stride, upsample_scores
from src.prediction.trained_network import load_network
from src.system.errors import UserError
from src.system.hardware import find_device, find_precision


class Prediction(NamedTuple):
    """The label map of an image, at its size, and the class probabilities."""

    label: LabelMap  # class indices, uint8
    probabilities: Float[np.ndarray, "classes height width"] | None  # float32; None unless requested


class Predictor:
    """Labels images with the network of a checkpoint.

        predictor = Predictor("best.ckpt", crf=DenseCRF(w1=5, sxy=50, srgb=10))
        label = predictor("photo.jpg").label
        names = [predictor.classes[index] for index in np.unique(label)]

    With a CRF it has workers, which ``close`` or a ``with`` block ends.

    Args:
        ckpt: path of a checkpoint of ``python -m src.train``, or of a folder that export format=hub wrote; an address;
            or the name of a network that comes with the package.
        crf: refines the network's scores; None for the network alone. For a network trained through a CRF, it gets the
            learned parameters. "trained": the CRF that the network was trained with, if any.
        inference: scales, mirroring and windows; None for one pass over the whole image.
        accelerator: auto, cpu, gpu or mps.
        precision: one of Lightning's, such as 32-true, bf16-mixed or 16-true; auto for the fastest one that is safe on
            this machine.
        workers: number of images that the CRF refines at once, if ``refine`` is called from many threads.
        device: index of the GPU to use, modulo the number of GPUs.

    Attributes:
        classes: names of the classes.
        palette: colour of each class, RGB in uint8 of shape (classes, 3).

    Raises:
        UserError: if the checkpoint, the accelerator or the precision cannot be used, or the CRF is for other classes.
    """

    def __init__(
        self,
        ckpt: str | Path,
        crf: DenseCRF | Literal["trained"] | None = "trained",
        inference: Inference | None = None,
        accelerator: str = "auto",
        precision: str | int | None = "auto",
        workers: int = 1,
        device: int = 0,
    ) -> None:
        trained = load_network(ckpt)
        self.classes, self.palette = trained.classes, trained.palette
        if crf == "trained":
            crf = DenseCRF() if trained.model.crf is not None else None
        if crf is not None:
            crf = trained.model.with_learned(crf)
            try:
                crf.parameters.check_classes(len(self.classes))
            except ValueError as error:
                raise UserError(f"crf: {error}") from error
        self.device = find_device(accelerator, device)
        self.precision = find_precision(precision, self.device.type)
        self.network = fold_batch_norm(trained.model).requires_grad_(False).to(self.device, self.precision.weights)
        self.inference = inference or Inference()
        self.pool = RefinementPool(crf, workers) if crf is not None else None

    def close(self) -> None:
        """Wait for the CRF's workers and end them; further images cannot be refined."""
        if self.pool is not None:
            self.pool.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __call__(self, image: str | Path | Image.Image | Picture, probabilities: bool = False) -> Prediction:
        """Return the label map of an image and, if requested, the probabilities.

        Args:
            image: a path, a Pillow image, or RGB as uint8 of shape (height, width, 3).
            probabilities: whether to return the probabilities of all classes.

        Raises:
            UserError: if the image cannot be read, or its samples have no fixed range.
        """
        pixels = self.pixels(image)
        return self.refine(pixels, self.scores(pixels), probabilities)

    @staticmethod
    def pixels(image: str | Path | Image.Image | Picture) -> Picture:
        """Return an image, in any form that ``__call__`` takes, as upright RGB: uint8 of shape (height, width, 3)."""
        if isinstance(image, (str, Path)):
            return read_image(Path(image))
        if not isinstance(image, np.ndarray):
            return to_rgb(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise UserError(f"image is {image.dtype} {image.shape}: give RGB in 0..255 as uint8 (height, width, 3)")
        return image

    def scores(self, pixels: Picture) -> Float[Tensor, "classes rows columns"]:
        """Return the network's scores for an image, on the network's device.

        Thread-safe.

        Raises:
            UserError: if a score is not finite.
        """
        image = torch.tensor(pixels, device=self.device).permute(2, 0, 1)[None]
        with torch.no_grad():
            scores = self.inference(self.run_network, image)[0]
        if not bool(scores.isfinite().all()):
            raise UserError("the network's scores are not finite (NaN or infinity); try precision=32-true")
        return scores

    def run_network(self, image: Tensor) -> Tensor:
        """Return the network's scores for a batch of images, in its precision."""
        with self.precision.autocast(self.device.type):
            return self.network(image)

    def refine(
        self, pixels: Picture, scores: Float[Tensor, "classes rows columns"], probabilities: bool = False
    ) -> Prediction:
        """Return the prediction from an image's scores, refined by the CRF if there is one.

        Thread-safe.
        """
        image, size = pixels.transpose(2, 0, 1), (pixels.shape[0], pixels.shape[1])
        if not probabilities:
            if self.pool is None:
                label = predict_labels(scores[None], size)[0].byte()
            else:
                label = self.pool.refine_labels(image, scores, score_stride(scores.shape[-2:], size)).result()
            return Prediction(label.cpu().numpy(), None)
        full = upsample_scores(scores[None], size)[0]
        q = full.softmax(0) if self.pool is None else self.pool.submit(image, logits=full).result()
        return Prediction(q.max(0).indices.byte().cpu().numpy(), q.float().cpu().numpy())
