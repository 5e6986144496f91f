"""Evaluate a trained network, with and without CRF in one pass: python -m src.evaluate ckpt=CKPT."""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.utils import instantiate
from lightning import Callback
from omegaconf import DictConfig

from src.data import FileDataset, SegmentationDataset
from src.data.checks import check_splits
from src.data.sets.unannotated import Unannotated
from src.drawing.tables import print_results
from src.evaluation.results import write_plots, write_tables
from src.prediction.trained_network import build_dataset
from src.runs.metric_files import write_json
from src.runs.metric_names import NETWORK
from src.system.counted import counted
from src.training.datamodule import ValidationDataModule
from src.training.failures import explain_failures
from src.training.segmenter import load_segmenter
from src.training.trainer import build_trainer
from src.training.validation import collect_metrics, has_trimap

log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> dict[str, float]:
    """Evaluate a checkpoint, and write metrics.json, tables, plots and pictures to the run's folder.

    Returns:
        The metrics by name, in 0..1; NaN if there are no annotations.

    Raises:
        UserError: if the checkpoint or the data set cannot be used.
    """
    segmenter = load_segmenter(config.ckpt)

    segmenter.inference = instantiate(config.inference)
    segmenter.validation.measures_boundaries = True
    segmenter.validation.trimap_width = config.trimap
    dataset = allow_missing_masks(build_dataset(segmenter.hparams, config.dataset, config.split), config.split)
    datamodule = ValidationDataModule(dataset, config.num_workers)
    check_splits({config.split: dataset}, datamodule.num_workers)
    callbacks = build_evaluation_callbacks(config)
    trainer = build_trainer(config.trainer, callbacks=callbacks, logger=False, enable_checkpointing=False)
    with explain_failures(trainer):
        trainer.validate(segmenter, datamodule=datamodule, verbose=False)

    results = segmenter.validation.compute()
    metrics = collect_metrics(results, segmenter.classes, config.split, by_class=("iou", "accuracy", "boundary_f"))
    if trainer.is_global_zero:
        folder = Path(config.paths.output_dir)
        if results[NETWORK]["confusion"].any():
            write_json(folder / "metrics.json", metrics)
            write_tables(folder, results, segmenter.classes)
            write_plots(folder, results, segmenter.classes)
            if not has_trimap(results):
                log.info("no trimap curves: the masks have no void pixels")
        tables = ["metrics.json", "classes.csv", "images.csv"]
        names = [*tables, "confusion.png", "trimap.png", "pictures.png", "worst.html", "archive"]
        print_results(
            list(results.values()), segmenter.classes, folder, [n for n in names if (folder / n).exists()], config.split
        )
    return metrics


def allow_missing_masks(dataset: SegmentationDataset, split: str) -> SegmentationDataset:
    """Return the data set, or only its images if a test split has no masks at all."""
    if split == "test" and isinstance(dataset, FileDataset) and not any(mask.is_file() for *_, mask in dataset.pairs):
        log.info("%s: only predictions are written", counted(len(dataset), "image has no mask", "images have no masks"))
        return Unannotated(dataset)
    return dataset


def build_evaluation_callbacks(config: DictConfig) -> list[Callback]:
    """Return the callbacks of the config; CRF and archive only if requested."""
    enabled = {"crf": bool(config.crf), "archive": bool(config.archive) or config.split == "test"}
    options = {"archive": {"competition": config.archive or "comp6"}}
    chosen = {key: value for key, value in config.callbacks.items() if value and enabled.get(key, True)}
    return [instantiate(value, **options.get(key, {})) for key, value in chosen.items()]
