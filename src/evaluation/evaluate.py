"""What a trained network is worth, with and without CRF in one pass: python -m src.evaluate ckpt=CHECKPOINT."""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.utils import instantiate
from lightning import Callback
from omegaconf import DictConfig

from src.data import FileDataset, SegmentationDataset
from src.data.sets.unannotated import Unannotated
from src.drawing.tables import print_results
from src.evaluation.results import draw, write_tables
from src.runs.figures import NETWORK
from src.runs.record import write_json
from src.training.accidents import plain_accidents
from src.training.datamodule import SegmentationDataModule
from src.training.restore import dataset_of, load_segmenter
from src.training.trainer import build_trainer
from src.training.validation import figures_of, has_trimap

log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> dict[str, float]:
    """Validate a checkpoint as training does, and write down more of it; returns the figures of metrics.json."""
    segmenter = load_segmenter(config.ckpt)

    segmenter.inference = instantiate(config.inference)
    segmenter.validation.trimap = config.trimap
    dataset = annotated_or_not(dataset_of(segmenter, config.dataset, config.split), config.split)
    dataset.check()
    callbacks = build_callbacks(config)
    trainer = build_trainer(config.trainer, callbacks=callbacks, logger=False, enable_checkpointing=False)
    # Validation is all that is run, so that one split stands in both places.
    datamodule = SegmentationDataModule(lambda split: dataset, None, batch_size=1, num_workers=config.num_workers)
    with plain_accidents(trainer):
        trainer.validate(segmenter, datamodule=datamodule, verbose=False)

    results = segmenter.validation.results
    figures = figures_of(results, segmenter.classes, config.split, by_class=("iou", "accuracy"))
    if trainer.is_global_zero:
        folder = Path(config.paths.output_dir)
        if results[NETWORK]["confusion"].any():
            write_json(folder / "metrics.json", figures)
            write_tables(folder, results, segmenter.classes)
            draw(folder, results, segmenter.classes)
            if not has_trimap(results):
                log.info("no trimap: the annotation has no void pixels")
        names = ["metrics.json", "classes.csv", "confusion.png", "trimap.png", "pictures.png", "archive"]
        print_results(
            list(results.values()), segmenter.classes, folder, [n for n in names if (folder / n).exists()], config.split
        )
    return figures


def annotated_or_not(dataset: SegmentationDataset, split: str) -> SegmentationDataset:
    """The data set; where a test split has no masks at all, only its images."""

    if split == "test" and isinstance(dataset, FileDataset) and not any(mask.is_file() for *_, mask in dataset.pairs):
        log.info("%d images without masks: nothing to compare with, predictions only", len(dataset))
        return Unannotated(dataset)
    return dataset


def build_callbacks(config: DictConfig) -> list[Callback]:
    """The config's callbacks that have something to do: the CRF where there is one, the archive where it is wanted."""

    wanted = {"crf": bool(config.crf), "archive": bool(config.archive) or config.split == "test"}
    options = {"archive": {"competition": config.archive or "comp6"}}
    chosen = {key: value for key, value in config.callbacks.items() if value and wanted.get(key, True)}
    return [instantiate(value, **options.get(key, {})) for key, value in chosen.items()]
