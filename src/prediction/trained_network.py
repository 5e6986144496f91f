"""Rebuild a trained network, and the data set it was trained on, from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from jaxtyping import UInt8
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from src.data import SegmentationDataset
from src.data.dataset import DatasetError
from src.models import DeepLab
from src.runs.checkpoint_content import explain_misfit, read_checkpoint
from src.system.counted import counted
from src.system.errors import UserError


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network, without what only its training needs.

    Attributes:
        model: the network, in evaluation mode.
        classes: names of the classes.
        palette: colour of each class, RGB in uint8 of shape (classes, 3).
        hparams: the settings it was built from ("model", "dataset" and others), as its checkpoint holds them.
    """

    model: DeepLab
    classes: list[str]
    palette: UInt8[np.ndarray, "classes 3"]
    hparams: dict[str, Any]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights by their names in a checkpoint."""
        return nn.ModuleDict({"model": self.model}).state_dict()


def load_network(ckpt: str | Path | None) -> TrainedNetwork:
    """Return the network of a checkpoint of ``python -m src.train``, in evaluation mode.

    Args:
        ckpt: see ``read_checkpoint``. Weights in 16 bits are loaded as float32.

    Raises:
        UserError: if the file does not exist, is not such a checkpoint, names classes of other projects, or contains
            weights that are not finite.
    """
    path, hparams, state = read_checkpoint(ckpt)
    with explain_misfit(path):
        classes = list(hparams["classes"])
        palette = torch.tensor(hparams["palette"], dtype=torch.uint8).numpy()
        if palette.shape != (len(classes), 3) or not all(isinstance(name, str) for name in classes):
            raise ValueError(f"{len(classes)} classes need as many names, and as many colours in RGB")
        model = instantiate(hparams["model"], num_classes=len(classes))
        nn.ModuleDict({"model": model}).load_state_dict(state)
        model.to(memory_format=torch.channels_last)  # in which images come, and most processors are fastest
    return TrainedNetwork(model.eval(), classes, palette, hparams)


def build_dataset(hparams: Mapping[str, Any], chosen: DictConfig, split: str) -> SegmentationDataset:
    """Return a split of the data set that a network was trained on, or of another one with the same classes.

    Args:
        hparams: the settings of the network, as its checkpoint holds them.
        chosen: a complete configuration, or values that replace those of the checkpoint; None keeps the value of the
            checkpoint. It is completed in place, so that error messages can refer to it.
        split: name of the split.

    Raises:
        UserError: if the checkpoint does not name a data set, or the classes differ.
        DatasetError: if the data set cannot be built.
    """
    saved, classes = hparams.get("dataset"), list(hparams["classes"])
    with open_dict(chosen):
        if "_target_" not in chosen:
            if not saved:
                raise UserError(
                    "dataset=null: the checkpoint does not say what it was trained on; "
                    "choose dataset=NAME dataset.root=FOLDER"
                )
            changes = {key: value for key, value in chosen.items() if value is not None}
            chosen.update({**saved, **changes})
            if "root" in saved and chosen.root is None:
                raise UserError("dataset.root=FOLDER is needed: the checkpoint does not say where its data is")
        if "root" in chosen and chosen.root is None:  # from conf/evaluate.yaml; generated data has no folder
            del chosen["root"]
    try:
        dataset = instantiate(chosen)(split=split)
    except (TypeError, ValueError) as error:
        raise DatasetError(str(error)) from error
    if list(dataset.classes) != classes:
        found = counted(len(dataset.classes), "class", "classes")
        raise UserError(
            f"dataset: has {found} ({', '.join(dataset.classes)}), the network has {len(classes)} "
            f"({', '.join(classes)}); choose a data set with the network's classes, in their order, or "
            "set ckpt to a network trained on this data set"
        )
    return dataset
