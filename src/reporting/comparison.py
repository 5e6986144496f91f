"""Compare predictions for some images of a data set, with and without CRF, with their true labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from omegaconf import OmegaConf

from src.crf import DenseCRF
from src.data.dataset import Picture
from src.labels import LabelMap
from src.metrics.confusion import confusion_matrix, ratios
from src.models.geometry import predict_labels
from src.prediction.predictor import Predictor
from src.prediction.trained_network import build_dataset
from src.runs.checkpoint_content import read_checkpoint
from src.runs.trusted_classes import find_untrusted


class ComparedImage(NamedTuple):
    """An image with its true and predicted labels.

    Attributes:
        labels: predicted label maps by method, "network" and, if there is a CRF, "network + CRF".
        miou: mean IoU by method, in 0..1, over the classes that occur in the image or its prediction; NaN if all
            pixels are void.
    """

    id: str
    image: Picture
    truth: LabelMap
    labels: dict[str, LabelMap]
    miou: dict[str, float]


class Comparison:
    """Predicts the labels of images evenly spaced over a split.

    Args:
        ckpt: the checkpoint of the network.
        dataset: settings that override the checkpoint's. If they name a class or function from outside this project,
            only ``root`` is used, because the run's folder may come from an untrusted source.
        split: split of the data set.
        crf: the arguments of ``DenseCRF``; empty for the network alone.
        count: maximum number of images.

    Attributes:
        classes: names of the classes.
        palette: colour of each class, RGB in uint8 of shape (classes, 3).

    Raises:
        UserError: if the checkpoint or the data set cannot be used.
        TypeError, ValueError: if the CRF's arguments are invalid.
    """

    def __init__(self, ckpt: Path, dataset: Mapping[str, Any], split: str, crf: Mapping[str, Any], count: int) -> None:
        if any(find_untrusted(dict(dataset))):
            root = dataset.get("root")
            dataset = {"root": None if any(find_untrusted(root)) else root}
        self.dataset = build_dataset(read_checkpoint(ckpt).hparams, OmegaConf.create(dict(dataset)), split)
        self.predictor = Predictor(ckpt, crf=DenseCRF(**crf) if crf else None)
        self.classes = self.predictor.classes
        self.palette: UInt8[np.ndarray, "classes 3"] = self.predictor.palette
        self.positions = np.unique(np.linspace(0, len(self.dataset) - 1, count).round().astype(int)).tolist()

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[ComparedImage]:
        """Yield the images with their predictions."""
        for position in self.positions:
            image, truth, id_ = self.dataset[position]
            scores = self.predictor.scores(image)
            labels = {"network": predict_labels(scores[None], truth.shape)[0].byte().cpu().numpy()}
            if self.predictor.pool is not None:
                labels["network + CRF"] = self.predictor.refine(image, scores).label
            miou = {method: image_miou(truth, label, len(self.classes)) for method, label in labels.items()}
            yield ComparedImage(id_, image, truth, labels, miou)


def image_miou(truth: LabelMap, label: LabelMap, classes: int) -> float:
    """Return the mean IoU over the classes in the true or predicted labels, without void; NaN if all is void."""
    return float(ratios(confusion_matrix(torch.from_numpy(label), torch.from_numpy(truth), classes))["miou"])
