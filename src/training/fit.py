"""Train a network, validate it with and without CRF, and keep the best checkpoint: python -m src.train [OVERRIDES]."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig, OmegaConf

from src.drawing.tables import print_results
from src.models.weights.pretrained import load_initial_weights
from src.models.weights.torch_file import read_state
from src.runs.checkpoints import find_checkpoint_to_resume, newest_intact, record_run
from src.runs.loggers import build_loggers, closed_wandb
from src.runs.metric_files import write_json
from src.runs.metric_names import CRF, metric_name
from src.system.counted import counted
from src.system.errors import UserError, unwrapped
from src.training.callbacks.monitors import check_monitors
from src.training.datamodule import SegmentationDataModule
from src.training.failures import explain_failures, explain_lack_of_memory
from src.training.lightning_state import get_callbacks
from src.training.memory_format import choose_memory_format
from src.training.resume import ResumeCheckpoint, exact_resume
from src.training.resume.same_run import check_same_run
from src.training.segmenter import Segmenter
from src.training.trainer import build_trainer, count_steps

log = logging.getLogger(__name__)


def main(config: DictConfig) -> float:
    """Train, and return val/miou of the best checkpoint (val/miou_crf if a CRF runs), which sweepers maximise."""
    config.ckpt = find_checkpoint_to_resume(Path(config.paths.output_dir, "checkpoints"), config.ckpt)
    with closed_wandb(), explain_lack_of_memory():
        metrics = train(config)
    return metrics.get(metric_name("miou", CRF), metrics[metric_name("miou")])


def train(config: DictConfig) -> dict[str, float]:
    """Train and validate a network as configured, and return the metrics of its best checkpoint.

    Writes checkpoints, logs, pictures and metrics.json to the run's folder.

    Returns:
        The metrics by name, in 0..1.

    Raises:
        UserError: if the config or the data is wrong, or the run cannot continue; the message names the remedy.
    """
    if config.ckpt and config.init_from:
        log.info("init_from=%s is not used: the checkpoint of ckpt= contains all weights", config.init_from)
    seed_everything(config.seed, workers=True, verbose=False)
    datamodule = instantiate(config.data)
    classes, palette = list(datamodule.train_set.classes), datamodule.train_set.palette.tolist()
    check_parts(config, classes, palette)
    datamodule.check()
    segmenter = build_segmenter(config, classes, palette)
    resumed = check_same_run(config.ckpt, segmenter, config) if config.ckpt else {}
    callbacks = build_callbacks(config, segmenter.classes)
    if not config.ckpt:  # a checkpoint contains all weights
        images = datamodule.sample_images()
        log.info("initial weights: %s", load_initial_weights(segmenter.model, images, config.init_from))
    record_run(config.paths.log_dir, config.paths.output_dir)
    loggers = build_loggers(config, resumed.get("wandb_id"))  # a resumed W&B run continues its curves
    trainer = build_trainer(config.trainer, callbacks=callbacks, logger=loggers or False)
    check_devices(trainer, datamodule)
    if not trainer.is_global_zero:
        logging.getLogger().setLevel(logging.WARNING)

    last = next((callback.path for callback in callbacks if isinstance(callback, ResumeCheckpoint)), None)
    with explain_failures(trainer, last):
        if not config.ckpt:  # a checkpoint records the format
            segmenter.set_memory_format(find_memory_format(config, segmenter, trainer))
        if config.compile:
            segmenter.model.compile()  # in place: parameters keep their names, so checkpoints stay the same
        trainer.fit(segmenter, datamodule=datamodule, ckpt_path=config.ckpt, weights_only=True)
        if reason := describe_early_end(trainer):
            log.info("%s", reason)
        load_best_weights(trainer, segmenter, Path(config.paths.output_dir))
        metrics = dict(trainer.validate(segmenter, datamodule=datamodule, verbose=False)[0])
    if trainer.is_global_zero:
        folder = Path(config.paths.output_dir)
        write_results(folder, metrics, segmenter)
    return metrics


def build_segmenter(config: DictConfig, classes: list[str], palette: list[list[int]]) -> Segmenter:
    """Return the LightningModule of a config, built from plain dicts, which a checkpoint can store."""
    parts: dict[str, Any] = {key: OmegaConf.to_container(config[key], resolve=True) for key in Segmenter.CONFIGS}
    dataset: Any = OmegaConf.to_container(config.dataset, resolve=True)
    return Segmenter(**parts, classes=classes, palette=palette, dataset=dataset)


def check_parts(config: DictConfig, classes: list[str], palette: list[list[int]]) -> None:
    """Build network, loss and optimiser without memory, so that a wrong setting ends the run before the data is read.

    Raises:
        InstantiationException: if a part cannot be built.
    """
    with isolate_rng(include_cuda=False):  # the initial weights must not depend on what this check builds
        try:
            with torch.device("meta"):
                build_segmenter(config, classes, palette).build_optimizer()
        except Exception as error:
            if isinstance(unwrapped(error, InstantiationException), (UserError, ValueError)):
                raise  # a constructor refuses an argument
            # Otherwise, perhaps only because a network of the user's own cannot be on "meta".
            build_segmenter(config, classes, palette).build_optimizer()


def check_devices(trainer: Trainer, datamodule: SegmentationDataModule) -> None:
    """Check that the trainer's devices can share the batches.

    Raises:
        UserError: if they cannot, or if a sweep runs on several devices.
    """
    devices = trainer.num_devices * trainer.num_nodes
    datamodule.check_devices(devices)
    if devices > 1 and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError("-m cannot be combined with several devices: leave out -m, or set trainer=cpu or trainer=gpu")


def write_results(folder: Path, metrics: Mapping[str, float], segmenter: Segmenter) -> None:
    """Write metrics.json, and print the table of results and the contents of the run's folder."""
    write_json(folder / "metrics.json", metrics)
    names = ("checkpoints", "pictures", "csv", "tensorboard", "wandb", "metrics.json", "config.yaml")
    contents = [name for name in names if (folder / name).exists()]
    print_results(list(segmenter.validation.compute().values()), segmenter.classes, folder, contents)


def find_memory_format(config: DictConfig, segmenter: Segmenter, trainer: Trainer) -> str:
    """Return the memory format to train in: the configured format, or the fastest."""
    if config.memory_format != "auto":
        return config.memory_format
    if trainer.strategy.root_device.type != "cpu":
        return "channels_last"
    side = OmegaConf.select(config, "augmentation.crop_size") or 321
    return choose_memory_format(segmenter.model, segmenter.loss, len(segmenter.classes), side, trainer.precision)


def load_best_weights(trainer: Trainer, segmenter: Segmenter, folder: Path) -> None:
    """Load the weights of the best checkpoint, or save the initial weights if no step was trained.

    Args:
        folder: the run's folder.
    """
    if best := getattr(trainer.checkpoint_callback, "best_model_path", ""):
        segmenter.load_state_dict(read_state(newest_intact(best))["state_dict"])
    elif trainer.checkpoint_callback:  # trainer.max_steps=0: for evaluate, predict and export
        trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")


def build_callbacks(config: DictConfig, classes: list[str]) -> list[Callback]:
    """Return the callbacks of the config (the CRF only if there is one) and those that make resuming exact.

    Raises:
        UserError: if one is not a callback, or monitors a metric that will not be logged.
    """
    check_monitors(config, classes)
    chosen = {key: value for key, value in config.callbacks.items() if value and (key != "crf" or config.crf)}
    callbacks = {key: instantiate(value) for key, value in chosen.items()}
    for key, callback in callbacks.items():
        if not isinstance(callback, Callback):
            raise UserError(f"callbacks.{key}._target_={chosen[key]._target_}: not a Lightning callback")
    return [*callbacks.values(), *exact_resume(config.seed)]


def describe_early_end(trainer: Trainer) -> str:
    """Return why training ended before its last step or epoch; an empty string if it did not."""
    step, steps = trainer.global_step, count_steps(trainer)
    if step >= steps:
        if trainer.current_epoch < (trainer.max_epochs or -1):
            return (
                f"trainer.max_steps={step} ended the run before trainer.max_epochs={trainer.max_epochs}; "
                "for all epochs, set trainer.max_steps=-1"
            )
        return ""
    for callback in get_callbacks(trainer):
        if isinstance(callback, Timer) and (callback.time_remaining() or 1) <= 0:
            total = "" if steps == float("inf") else f" of {steps:.0f}"
            return f"trainer.max_time was reached at step {step}{total}; continue with ckpt=last"
        if isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
            return (
                f"stopped early at step {step}: {callback.monitor} has not improved on "
                f"{float(callback.best_score):.4f} for {counted(callback.wait_count, 'validation')}"
            )
        if isinstance(callback, EarlyStopping) and (reason := callback.stopping_reason_message):
            return f"stopped early at step {step}: {reason.removesuffix(' Signaling Trainer to stop.')}"
    return ""
