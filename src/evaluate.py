"""What a trained network is worth, with and without CRF in one pass: python -m src.evaluate ckpt=CHECKPOINT."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.checkpoint import dataset_of, load_segmenter
from src.command import command

if TYPE_CHECKING:
    from lightning import Callback

    from src.data import SegmentationDataset

log = logging.getLogger(__name__)


@command("evaluate")
def main(config: DictConfig) -> None:
    evaluate(config)


def evaluate(config: DictConfig) -> dict[str, float]:
    """Validate a checkpoint as training does, and write down more of it; returns the figures of metrics.json."""
    segmenter = load_segmenter(config.ckpt)

    # Heavy imports stand here so that --help and a mistyped override answer at once.
    from hydra.utils import instantiate

    from src.callbacks.crf import validation_results
    from src.console import print_results
    from src.data.datamodule import SegmentationDataModule
    from src.metrics import TrimapMetrics
    from src.results import draw, figures_of, has_trimap, write_json, write_tables
    from src.trainer import build_trainer, plain_accidents

    segmenter.inference = instantiate(config.inference)
    segmenter.metrics = TrimapMetrics(len(segmenter.classes), config.trimap)
    dataset = annotated_or_not(dataset_of(segmenter, config.dataset, config.split), config.split)
    dataset.check()
    callbacks = build_callbacks(config)
    trainer = build_trainer(config.trainer, callbacks=callbacks, logger=False, enable_checkpointing=False)
    # Validation is all that is run, so that one split stands in both places.
    datamodule = SegmentationDataModule(lambda split: dataset, None, batch_size=1, num_workers=config.num_workers)
    with plain_accidents(trainer):
        trainer.validate(segmenter, datamodule=datamodule, verbose=False)

    results = validation_results(segmenter, trainer)
    figures = figures_of(results, segmenter.classes, config.split)
    if trainer.is_global_zero:
        folder = Path(config.paths.output_dir)
        if results[""]["confusion"].any():
            write_json(folder / "metrics.json", figures)
            write_tables(folder, results, segmenter.classes)
            draw(folder, results, segmenter.classes)
            if not has_trimap(results):
                log.info("no trimap: the annotation has no void pixels")
        names = ["metrics.json", "classes.csv", "confusion.png", "trimap.png", "pictures.png", "archive"]
        print_results(figures, segmenter.classes, folder, [n for n in names if (folder / n).exists()], config.split)
    return figures


def annotated_or_not(dataset: SegmentationDataset, split: str) -> SegmentationDataset:
    """The data set; where a test split has no masks at all, only its images."""
    from src.data import FileDataset
    from src.data.unannotated import Unannotated

    if split == "test" and isinstance(dataset, FileDataset) and not any(mask.is_file() for *_, mask in dataset.pairs):
        log.info("%d images without masks: nothing to compare with, predictions only", len(dataset))
        return Unannotated(dataset)
    return dataset


def build_callbacks(config: DictConfig) -> list[Callback]:
    """The config's callbacks that have something to do: the CRF where there is one, the archive where it is wanted."""
    from hydra.utils import instantiate

    wanted = {"crf": bool(config.crf), "archive": bool(config.archive) or config.split == "test"}
    options = {"archive": {"competition": config.archive or "comp6"}}
    chosen = {key: value for key, value in config.callbacks.items() if value and wanted.get(key, True)}
    return [instantiate(value, **options.get(key, {})) for key, value in chosen.items()]


if __name__ == "__main__":
    main()
