"""Lightning's Trainer from its config, for training and evaluation alike."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from hydra.utils import instantiate
from lightning import Trainer
from omegaconf import DictConfig

from src.errors import UserError
from src.system.hardware import auto_precision, resolve_accelerator
from src.training.accidents import WorkerNames
from src.training.checkpoint_io import SafeCheckpointIO

log = logging.getLogger(__name__)


def build_trainer(config: DictConfig, **options: Any) -> Trainer:
    """The Trainer of conf/trainer with callbacks, loggers and the like; ``precision=auto`` is settled here.

    Raises:
        UserError: if the machine has not what the config asks for.
    """
    settings = dict(config)
    device = resolve_accelerator(settings.get("accelerator", "auto"))
    if settings.get("accelerator") == "gpu" and device == "cpu":
        raise UserError("trainer.accelerator=gpu: torch finds no GPU here; choose trainer=cpu or trainer=ddp_cpu")
    if settings.get("sync_batchnorm") and device == "cpu":
        raise UserError("trainer.sync_batchnorm=true: torch has it on GPUs only; set it to false, or trainer=ddp_cpu")
    if settings.setdefault("precision", "auto") == "auto":
        settings["precision"], reason = auto_precision(settings.get("accelerator", "auto"))
        log.info("precision: %s (%s)", settings["precision"], reason)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its greetings say what our own lines say better
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)  # Lightning 2.6 on torch 2.13; nothing to act on
    # Metrics add up their own counts over the processes before anything is logged.
    warnings.filterwarnings("ignore", "It is recommended to use .*sync_dist=True")
    plugins = [*instantiate(settings.pop("plugins", None) or []), SafeCheckpointIO()]
    callbacks = [*options.pop("callbacks", []), WorkerNames()]
    return instantiate(settings, **options, callbacks=callbacks, plugins=plugins)
