"""Build Lightning's Trainer from its config, for training and evaluation."""

from __future__ import annotations

import logging
import os
import re
import warnings
from typing import Any

import torch
from hydra.utils import instantiate
from lightning import Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from omegaconf import DictConfig, OmegaConf

from src.system.errors import UserError
from src.system.hardware import auto_precision, resolve_accelerator
from src.training.checkpoint_io import SafeCheckpointIO
from src.training.failures import WorkerNames

log = logging.getLogger(__name__)


def build_trainer(config: DictConfig, **options: Any) -> Trainer:
    """Return the Trainer that a config of conf/trainer describes.

    Resolves ``precision=auto``. ``val_check_interval`` counts optimiser steps.

    Args:
        config: configuration of the trainer.
        options: other arguments of the Trainer, such as callbacks and loggers.

    Raises:
        UserError: if this machine or project does not support a setting.
    """
    check_trainer_settings(config)
    settings = dict(config)
    if settings.get("check_val_every_n_epoch"):
        if not isinstance(settings.get("val_check_interval"), float):
            settings["val_check_interval"] = 1.0  # of the epoch
    elif isinstance(settings.get("val_check_interval"), int):
        settings["val_check_interval"] *= settings.get("accumulate_grad_batches", 1)  # Lightning counts batches
    if settings.setdefault("precision", "auto") == "auto":
        settings["precision"], reason = auto_precision(settings.get("accelerator", "auto"))
        log.info("precision: %s (%s)", settings["precision"], reason)
    silence_lightning()
    plugins = [*instantiate(settings.pop("plugins", None) or []), SafeCheckpointIO()]
    callbacks = [*options.pop("callbacks", []), WorkerNames()]
    keyed = OmegaConf.create({"trainer": settings}, flags={"allow_objects": True})  # Hydra's errors then name the key
    trainer = instantiate(keyed.trainer, **options, callbacks=callbacks, plugins=plugins, _convert_="all")
    if not isinstance(trainer, Trainer):
        raise UserError(f"trainer._target_={settings['_target_']}: not a lightning.Trainer")
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.num_nodes > 1 and isinstance(environment, LightningEnvironment) and "MASTER_ADDR" not in os.environ:
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes}: the nodes cannot find each other; start the command on each of "
            "them with srun or torchrun, or set MASTER_ADDR, MASTER_PORT and NODE_RANK"
        )
    return trainer


def check_trainer_settings(settings: DictConfig) -> None:
    """Check that this machine has the devices that a config asks for, and that the project supports its strategy.

    Raises:
        UserError: if not; the message names the setting and the remedy.
    """
    device = resolve_accelerator(settings.get("accelerator", "auto"))
    found = {"gpu": device != "cpu", "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not found.get(accelerator := settings.get("accelerator", "auto"), True):
        raise UserError(
            f"trainer.accelerator={accelerator}: torch finds no GPU here; choose trainer=cpu or trainer=ddp_cpu"
        )
    devices, limit = settings.get("devices"), max(8, os.cpu_count() or 1)
    if device == "cpu" and isinstance(devices, int) and devices > limit:
        raise UserError(f"trainer.devices={devices}: too many processes for this machine; give at most {limit}")
    if settings.get("sync_batchnorm") and device == "cpu":
        raise UserError(
            "trainer.sync_batchnorm=true: torch supports it on GPUs only; set it to false, or choose trainer=ddp_cpu"
        )
    if re.search("spawn|fork|notebook", str(settings.get("strategy"))):
        raise UserError(
            f"trainer.strategy={settings['strategy']}: cannot spawn or fork processes; set trainer.strategy=ddp"
        )
    if settings.get("use_distributed_sampler"):
        raise UserError(
            "trainer.use_distributed_sampler=true: set it to false; the loaders already distribute the samples"
        )


def silence_lightning() -> None:
    """Hide Lightning's start-up messages, which repeat those of this project, and warnings that do not apply to it."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)  # Lightning 2.6 with torch 2.13
    # Loggers count the steps of the whole run here, not those of an epoch.
    warnings.filterwarnings("ignore", "The number of training batches .* is smaller than the logging interval")
    # The loaders need no state, and their sampler for several processes repeats no sample.
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
    warnings.filterwarnings("ignore", "Using `DistributedSampler` with the dataloaders")
    # The metrics add up their counts over all processes before they are logged.
    warnings.filterwarnings("ignore", "It is recommended to use .*sync_dist=True")


def count_steps(trainer: Trainer) -> float:
    """Return the number of optimiser steps of the whole run; infinity if it has no end."""
    steps = trainer.estimated_stepping_batches  # Lightning rounds it up in every epoch
    if not trainer.max_epochs or trainer.max_epochs == -1:
        return steps
    batches = trainer.max_epochs * trainer.num_training_batches
    return min(steps, max(batches // trainer.accumulate_grad_batches, trainer.min_steps or 0))
