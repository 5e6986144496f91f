"""What a checkpoint holds: the trained network, its classes, and the data set it was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict

from src.data import SegmentationDataset
from src.errors import UserError
from src.models.weights.pretrained import read_state
from src.runs.moved_names import with_new_names
from src.training.segmenter import Segmenter

TRUSTED = re.compile(r"(src\.(?:models|training\.losses|data))\.([A-Z]\w*)")


def load_segmenter(path: str | Path | None) -> Segmenter:
    """The network of a checkpoint of ``python -m src.train``, rebuilt and ready for testing.

    Raises:
        UserError: if there is no such file, or it is no such checkpoint, or names anything but our own classes.
    """
    if not path:
        raise UserError("ckpt=CHECKPOINT is needed, such as logs/train/runs/DATE/TIME_OVERRIDES/checkpoints/best.ckpt")
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")

    content = read_state(Path(path))
    if not all(isinstance(content.get(key), dict) for key in ("hyper_parameters", "state_dict")):
        raise UserError(f"{path}: holds no network to rebuild; give a checkpoint that python -m src.train wrote")
    # What trains is left out: it is not needed, and may be anybody's.
    parts = {**with_new_names(content["hyper_parameters"]), "optimizer": {}, "scheduler": {}}
    if fault := next(untrusted(parts), ""):
        raise UserError(f"{path}: {fault}")
    try:
        segmenter = Segmenter(**parts)
        segmenter.load_state_dict(content["state_dict"])
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError, InstantiationException) as error:
        reason = (str(error.__cause__ or error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: does not fit this version of the code ({reason})") from error
    weights = segmenter.state_dict()
    if bad := [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise UserError(f"{path}: {bad[0]} is not finite (NaN or infinity): its training diverged")
    return segmenter.eval()


def untrusted(config: Any) -> Iterator[str]:
    """What a config from elsewhere must not hold, in words: the file must not choose what is called or looked up.

    Calls may be of classes that src.models, src.training.losses or src.data define (not of what these import); all else
    is numbers, texts, lists and mappings, without OmegaConf's references, which reach the environment.
    """
    if isinstance(config, dict):
        if "_target_" in config and not is_ours(config["_target_"]):
            yield f"names {config['_target_']}, which is no class of src.models, src.training.losses or src.data"
        config = [*config.keys(), *config.values()]
    if isinstance(config, (list, tuple)):
        for value in config:
            yield from untrusted(value)
    elif isinstance(config, str):
        if "${" in config:
            yield f"refers to {config}; a checkpoint's config holds values only"
    elif not isinstance(config, (bool, int, float, NoneType)):
        yield f"holds a {type(config).__name__} among its hyper-parameters"


def is_ours(target: Any) -> bool:
    match = TRUSTED.fullmatch(target) if isinstance(target, str) else None
    found = getattr(import_module(match[1]), match[2], None) if match else None
    return isinstance(found, type) and found.__module__.startswith("src.")


def dataset_of(segmenter: Segmenter, chosen: DictConfig, split: str) -> SegmentationDataset:
    """The split of the data set that the checkpoint was trained on, or of another one with the same classes.

    Args:
        chosen: a whole configuration, or values that replace those of the checkpoint's; None leaves them as they are.
            Holds the whole configuration afterwards, so that errors can be explained by it.

    Raises:
        UserError: if the checkpoint does not know its data set, or the classes differ.
    """

    with open_dict(chosen):
        if "_target_" not in chosen:
            if not segmenter.hparams.get("dataset"):
                raise UserError(
                    "the checkpoint does not say what it was trained on: choose dataset=NAME dataset.root=FOLDER"
                )
            changes = {key: value for key, value in chosen.items() if value is not None}
            chosen.update({**segmenter.hparams["dataset"], **changes})
        if "root" in chosen and chosen.root is None:  # of conf/evaluate.yaml; generated data has no folder
            del chosen["root"]
    try:
        dataset = instantiate(chosen)(split=split)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    if list(dataset.classes) != segmenter.classes:
        raise UserError(
            f"the checkpoint knows {len(segmenter.classes)} classes ({', '.join(segmenter.classes)}), "
            f"the data set has {len(dataset.classes)} ({', '.join(dataset.classes)})"
        )
    return dataset
