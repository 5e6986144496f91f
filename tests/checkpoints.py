"""Checkpoints of small, untrained networks for the tests of the commands."""

from pathlib import Path
from typing import Any

import torch

from src.data import Shapes
from src.training.segmenter import Segmenter

MODEL = {
    "_target_": "src.models.DeepLab",
    "backbone": {"_target_": "src.models.VGG", "convs": [1] * 5, "width": 0.0625, "batch_norm": True},
    "head": {"_target_": "src.models.FCHead", "_partial_": True, "kernel": 3, "rate": 2, "channels": 32},
}
LOSS = {
    "_target_": "src.training.losses.SegmentationLoss",
    "criterion": {"_target_": "src.training.losses.CrossEntropy"},
}
SHAPES = {"_target_": "src.data.Shapes", "_partial_": True, "samples": {"train": 2, "val": 5, "test": 3}, "size": 60}

NO_PROGRESS = {  # what Lightning restores from a checkpoint, besides the network
    "loops": {}, "callbacks": {}, "optimizer_states": [], "lr_schedulers": [], "epoch": 0, "global_step": 0,
}  # fmt: skip


CRF = {"_target_": "src.models.CRFLayer", "_partial_": True, "w1": 3.0, "sxy": 20, "srgb": 15.0}


def segmenter(
    classes: Any = Shapes.classes, palette: Any = Shapes.palette, dataset: Any = None, crf: Any = None
) -> Segmenter:
    """Return a network with random weights, scaled so that every class wins somewhere and the CRF changes labels.

    Args:
        crf: configuration of a layer that the network is trained through.
    """
    torch.manual_seed(0)
    model = {**MODEL, "crf": crf} if crf else MODEL
    module = Segmenter(model, LOSS, {}, {}, list(classes), [[int(v) for v in rgb] for rgb in palette], dataset=dataset)
    module.eval()
    classifier = module.model.head.classifier
    torch.nn.init.normal_(classifier.weight, std=1.0)
    with torch.no_grad():
        picture = torch.from_numpy(Shapes("train", {"train": 1}, size=225)[0].image.copy()).permute(2, 0, 1)
        scores = module(picture[None])
        classifier.weight.mul_(3 / scores.std(dim=(0, 2, 3))[:, None, None, None])
        classifier.bias.copy_(-module(picture[None]).mean(dim=(0, 2, 3)))
    return module


def write_checkpoint(path: Path, **options: Any) -> Segmenter:
    """Write a checkpoint with all that the commands read; return its content."""
    module = segmenter(**options)
    torch.save({"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict()}, path)
    return module
