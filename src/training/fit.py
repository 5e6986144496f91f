"""Train a network, validate it with and without CRF, keep the best checkpoint: python -m src.train [OVERRIDES]."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Callback, seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from src.drawing.tables import print_results
from src.errors import UserError
from src.models.weights.pretrained import load_pretrained, load_trained, read_state
from src.runs.checkpoint_files import newest_intact
from src.runs.figures import CRF, figure_name
from src.runs.folder import is_first_process
from src.runs.history import find_last, note_run
from src.runs.loggers import finished_wandb
from src.runs.provenance import shareable
from src.runs.record import write_json
from src.training.accidents import memory_advice, plain_accidents
from src.training.callbacks import exact_resume
from src.training.continuing import carry_best, keep_curve, of_requeued_job, refuse_another, refuse_to_overwrite
from src.training.segmenter import Segmenter
from src.training.trainer import build_trainer

log = logging.getLogger(__name__)


def main(config: DictConfig) -> float:
    """The run's best val/miou (val/miou_crf where a CRF runs), for sweepers that look for a maximum."""

    with finished_wandb(), memory_advice():
        metrics = train(config)
    return metrics.get(figure_name("miou", CRF), metrics[figure_name("miou")])


def train(config: DictConfig) -> dict[str, float]:
    """One run, from config to metrics.json; returns the figures of the best checkpoint."""

    output = Path(config.paths.output_dir)
    config.ckpt = of_requeued_job(output / "checkpoints") or config.ckpt
    if config.ckpt:
        config.ckpt = str(newest_intact(find_last(config.paths.log_dir) if config.ckpt == "last" else config.ckpt))
    if is_first_process():
        refuse_to_overwrite(output / "checkpoints", config.ckpt)
        keep_curve(output / "csv" / "metrics.csv")
    seed_everything(config.seed, workers=True, verbose=False)
    datamodule = instantiate(config.data)
    datamodule.check()
    segmenter = build_segmenter(config, list(datamodule.train_set.classes), datamodule.train_set.palette.tolist())
    if config.ckpt:
        refuse_another(config.ckpt, segmenter)
    start(segmenter, config)
    loggers = build_loggers(config)
    trainer = build_trainer(config.trainer, callbacks=build_callbacks(config), logger=loggers or False)
    if trainer.num_devices * trainer.num_nodes > 1 and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError("several devices train one run at a time: leave out -m, or set trainer=cpu or trainer=gpu")
    if not trainer.is_global_zero:
        logging.getLogger().setLevel(logging.WARNING)  # each line once
    if trainer.is_global_zero:
        note_run(config.paths.log_dir, output)
        if config.ckpt:
            carry_best(Path(config.ckpt), output / "checkpoints")
    with plain_accidents(trainer):
        trainer.fit(segmenter, datamodule=datamodule, ckpt_path=config.ckpt, weights_only=True)

    if best := getattr(trainer.checkpoint_callback, "best_model_path", ""):
        segmenter.load_state_dict(torch.load(newest_intact(best), weights_only=True, map_location="cpu")["state_dict"])
    elif trainer.checkpoint_callback:  # trainer.max_steps=0: weights as they came, for evaluate, predict and export
        trainer.save_checkpoint(output / "checkpoints" / "last.ckpt")
    with plain_accidents(trainer):
        metrics = dict(trainer.validate(segmenter, datamodule=datamodule, verbose=False)[0])
    if trainer.is_global_zero:
        write_json(output / "metrics.json", metrics)
        names = ("checkpoints", "pictures", "csv", "tensorboard", "wandb", "metrics.json", "config.yaml")
        results = list(segmenter.validation.results.values())
        print_results(results, segmenter.classes, output, [name for name in names if (output / name).exists()])
    return metrics


def build_segmenter(config: DictConfig, classes: list[str], palette: list[list[int]]) -> Segmenter:
    """The LightningModule of a config; it is given plain dicts, which its checkpoints can hold."""

    parts: dict[str, Any] = {key: OmegaConf.to_container(config[key], resolve=True) for key in Segmenter.CONFIGS}
    dataset: Any = OmegaConf.to_container(config.dataset, resolve=True)
    return Segmenter(**parts, classes=classes, palette=palette, dataset=dataset)


def start(segmenter: Segmenter, config: DictConfig) -> None:
    """The weights that training begins with, and compilation.

    A checkpoint to resume has all weights; else ``init_from`` goes before ``backbone.weights``.
    """

    model = segmenter.model
    if config.ckpt is None:
        log.info("start: %s", load_trained(model, config.init_from) if config.init_from else load_pretrained(model))
    if config.compile:
        model.compile()  # in place: the names of parameters stay, so checkpoints fit with and without


def build_callbacks(config: DictConfig) -> list[Callback]:
    """Build the config's callbacks, the CRF only where there is one, and those that make a resumed run the same run."""

    chosen = {key: value for key, value in config.callbacks.items() if value and (key != "crf" or config.crf)}
    return [*(instantiate(value) for value in chosen.values()), *exact_resume(config.seed)]


def build_loggers(config: DictConfig) -> list[Logger]:
    """All loggers of the config, each told the whole resolved config and where the run comes from."""

    told = shareable(config)
    chosen = {key: dict(value) for key, value in (config.get("logger") or {}).items()}
    if config.ckpt and "wandb" in chosen and (run := read_state(Path(config.ckpt)).get("wandb_id")):
        chosen["wandb"].setdefault("id", run)  # the same curve goes on
    loggers = [instantiate(value) for value in chosen.values()]
    for logger in loggers:
        logger.log_hyperparams(told)
    return loggers
