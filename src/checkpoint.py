"""What a checkpoint holds: the trained network, its classes, and the data set it was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src.errors import UserError

if TYPE_CHECKING:
    from src.data import SegmentationDataset
    from src.segmenter import Segmenter

# A file from elsewhere must not choose what is called: constructors of ours only, nothing that they import.
TRUSTED = re.compile(r"src\.(models|losses|data)\.[A-Z]\w*")


def load_segmenter(path: str | Path | None) -> Segmenter:
    """The network of a checkpoint of ``python -m src.train``, rebuilt and ready for testing.

    Raises:
        UserError: if there is no such file, or it is no such checkpoint, or names anything but our own classes.
    """
    if not path:
        raise UserError("ckpt=CHECKPOINT is needed, such as logs/train/runs/DATE/TIME_OVERRIDES/checkpoints/best.ckpt")
    if not Path(path).is_file():
        raise UserError(f"ckpt={path}: no such file; give the best.ckpt or last.ckpt of a run")
    # Heavy imports stand here so that a mistyped path is told at once.
    from src.models.pretrained import read_state
    from src.segmenter import Segmenter

    content = read_state(Path(path))
    if not {"hyper_parameters", "state_dict"} <= content.keys():
        raise UserError(f"ckpt={path}: holds no network to rebuild; give a checkpoint that python -m src.train wrote")
    parts = content["hyper_parameters"]
    for target in targets_of([parts.get("model"), parts.get("loss"), parts.get("dataset")]):
        if not TRUSTED.fullmatch(target):
            raise UserError(f"ckpt={path}: names {target}, which is no class of src.models, src.losses or src.data")
    try:
        segmenter = Segmenter(**parts)
        segmenter.load_state_dict(content["state_dict"])
    except (TypeError, RuntimeError) as error:
        raise UserError(f"ckpt={path}: does not fit this version of the code ({str(error).splitlines()[0]})") from error
    return segmenter.eval()


def targets_of(config: Any) -> Iterator[str]:
    """Every ``_target_`` in a nested config."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield str(config["_target_"])
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from targets_of(value)


def dataset_of(segmenter: Segmenter, chosen: DictConfig, split: str) -> SegmentationDataset:
    """The split of the data set that the checkpoint was trained on, or of another one with the same classes.

    Args:
        chosen: a whole configuration, or values that replace those of the checkpoint's; None leaves them as they are.

    Raises:
        UserError: if the checkpoint does not know its data set, or the classes differ.
    """
    from hydra.utils import instantiate

    config = {key: value for key, value in chosen.items() if value is not None}
    if "_target_" not in config:
        if not segmenter.hparams.get("dataset"):
            raise UserError(
                "the checkpoint does not say what it was trained on: choose dataset=NAME dataset.root=FOLDER"
            )
        config = {**segmenter.hparams["dataset"], **config}
    dataset = instantiate(OmegaConf.create(config))(split=split)
    if list(dataset.classes) != segmenter.classes:
        raise UserError(
            f"the checkpoint knows {len(segmenter.classes)} classes ({', '.join(segmenter.classes)}), "
            f"the data set has {len(dataset.classes)} ({', '.join(dataset.classes)})"
        )
    return dataset
