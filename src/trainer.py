"""Lightning's Trainer from its config, for training and evaluation alike."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from hydra.utils import instantiate
from lightning import Trainer
from omegaconf import DictConfig

from src.checkpoint_io import SafeCheckpointIO
from src.hardware import auto_precision

log = logging.getLogger(__name__)


def build_trainer(config: DictConfig, **options: Any) -> Trainer:
    """The Trainer of conf/trainer with callbacks, loggers and the like; ``precision=auto`` is settled here."""
    settings = dict(config)
    if settings.setdefault("precision", "auto") == "auto":
        settings["precision"], reason = auto_precision(settings.get("accelerator", "auto"))
        log.info("precision: %s (%s)", settings["precision"], reason)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its greetings say what our own lines say better
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)  # Lightning 2.6 on torch 2.13; nothing to act on
    # Metrics add up their own counts over the processes before anything is logged.
    warnings.filterwarnings("ignore", "It is recommended to use .*sync_dist=True")
    plugins = [*instantiate(settings.pop("plugins", None) or []), SafeCheckpointIO()]
    return instantiate(settings, **options, plugins=plugins)
