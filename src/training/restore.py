"""Rebuild a trained network, and the data set it was trained on, from a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from types import NoneType
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict
from torch import nn

from src.data import SegmentationDataset
from src.data.dataset import DatasetError
from src.models.weights.torch_file import read_state
from src.runs.checkpoint_files import find_checkpoint, why_no_file
from src.runs.moved_names import with_new_names
from src.runs.networks import network_names
from src.system.errors import UserError
from src.training.segmenter import Segmenter

# MODULE.CLASS, where the module defines networks, losses or data sets, or is a package that exports them
TRUSTED = re.compile(r"(src\.(?:models|data|training\.losses)(?:\.[a-z]\w*)*)\.([A-Z]\w*)")


def load_segmenter(path: str | Path | None) -> Segmenter:
    """Return the network of a checkpoint of ``python -m src.train``, in evaluation mode.

    Args:
        path: path of the checkpoint, or of a folder that export format=hub wrote; an address, such as https://... or
            hf://OWNER/NAME; or the name of a network that comes with the package. Weights in 16 bits are loaded as
            float32.

    Raises:
        UserError: if the file does not exist, is not such a checkpoint, names classes of other projects, or contains
            weights that are not finite.
    """
    if not path:
        raise UserError("ckpt=CHECKPOINT is needed: the best.ckpt of a run, or ckpt=last for that of the newest run")
    path = find_checkpoint(path)
    if not path.is_file():
        raise UserError(
            f"{path}: {why_no_file(path)}, and no network that comes with the package ({', '.join(network_names())})"
        )

    content = read_state(path)
    if not all(isinstance(content.get(key), dict) for key in ("hyper_parameters", "state_dict")):
        raise UserError(f"{path}: holds no network to rebuild; give the best.ckpt or last.ckpt of a run")
    # The optimiser and the schedule are not needed, and may name classes of other projects.
    parts = {**with_new_names(content["hyper_parameters"]), "optimizer": {}, "scheduler": {}}
    if fault := next(find_untrusted(parts), ""):
        raise UserError(f"{path}: {fault}")
    try:
        segmenter = Segmenter(**parts)
        segmenter.load_state_dict(content["state_dict"])
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError, InstantiationException) as error:
        first, *details = (str(error.__cause__ or error) or type(error).__name__).splitlines()
        reason = shorten(details[0] if details and first.endswith(":") else first, 300, placeholder=" ...")
        raise UserError(f"{path}: does not fit this version of the code ({reason})") from error
    weights = segmenter.state_dict()
    if bad := [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise UserError(f"{path}: {bad[0]} is not finite (NaN or infinity): its training diverged")
    return segmenter.eval()


def find_untrusted(config: Any) -> Iterator[str]:
    """Yield a description of everything in a config that an untrusted file must not contain.

    The file must not choose what is called or looked up. ``_target_`` may name networks, losses and data sets that
    src.models, src.training.losses or src.data define (not what they import). All other values must be numbers,
    strings, lists and mappings without OmegaConf interpolations, which can read the environment.
    """
    if isinstance(config, dict):
        if "_target_" in config and not is_own_class(config["_target_"]):
            yield f"names {config['_target_']}, which is not a class of src.models, src.training.losses or src.data"
        config = [*config.keys(), *config.values()]
    if isinstance(config, (list, tuple)):
        for value in config:
            yield from find_untrusted(value)
    elif isinstance(config, str):
        if "${" in config:
            yield f"refers to {config}; the config of a checkpoint must contain plain values only"
    elif not isinstance(config, (bool, int, float, NoneType)):
        yield f"contains a {type(config).__name__} among its hyper-parameters"


def is_own_class(target: Any) -> bool:
    """Return whether a ``_target_`` names a network or a part of one, a loss or a data set of this project."""
    match = TRUSTED.fullmatch(target) if isinstance(target, str) else None
    try:
        value = getattr(import_module(match[1]), match[2], None) if match else None
    except ImportError:
        return False
    if not isinstance(value, type) or not value.__module__.startswith("src."):
        return False
    return issubclass(value, (nn.Module, SegmentationDataset))


def build_dataset(segmenter: Segmenter, chosen: DictConfig, split: str) -> SegmentationDataset:
    """Return a split of the data set that the checkpoint was trained on, or of another one with the same classes.

    Args:
        segmenter: the network of the checkpoint.
        chosen: a complete configuration, or values that replace those of the checkpoint; None keeps the value of the
            checkpoint. It is completed in place, so that error messages can refer to it.
        split: name of the split.

    Raises:
        UserError: if the checkpoint does not name a data set, or the classes differ.
        DatasetError: if the data set cannot be built.
    """
    with open_dict(chosen):
        if "_target_" not in chosen:
            if not segmenter.hparams.get("dataset"):
                raise UserError(
                    "the checkpoint does not say what it was trained on: choose dataset=NAME dataset.root=FOLDER"
                )
            changes = {key: value for key, value in chosen.items() if value is not None}
            chosen.update({**segmenter.hparams["dataset"], **changes})
            if "root" in segmenter.hparams["dataset"] and chosen.root is None:
                raise UserError("dataset.root=FOLDER is needed: the checkpoint does not say where its data is")
        if "root" in chosen and chosen.root is None:  # from conf/evaluate.yaml; generated data has no folder
            del chosen["root"]
    try:
        dataset = instantiate(chosen)(split=split)
    except (TypeError, ValueError) as error:
        raise DatasetError(str(error)) from error
    if list(dataset.classes) != segmenter.classes:
        raise UserError(
            f"the checkpoint knows {len(segmenter.classes)} classes ({', '.join(segmenter.classes)}), "
            f"the data set has {len(dataset.classes)} ({', '.join(dataset.classes)})"
        )
    return dataset
