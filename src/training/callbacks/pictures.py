"""Predictions to look at, on disk and in the loggers."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from src.drawing.pictures import colourise, comparison_sheet
from src.training.datamodule import Batch
from src.training.segmenter import Segmenter

TITLES = {"truth": "truth (white: void)", "prediction": "network", "crf": "network + CRF"}


class PredictionPictures(Callback):
    """One sheet a validation: image, truth, prediction and, where a CRF runs, its refinement, side by side.

    TensorBoard gets the sheet; W&B the images, with truth, prediction and refinement as masks to switch on and off.
    Must stand after ``CRFRefinement`` in the list of callbacks.

    Args:
        folder: where the PNGs go, one for every validation.
        count: samples on a sheet, evenly spread over the validation set, always the same.
        name: of a sheet outside of training; within, it is the iteration.
    """

    def __init__(self, folder: str, count: int = 4, name: str = "best") -> None:
        self.folder = Path(folder)
        self.count = count
        self.name = name
        self.rows: list[tuple[str, Tensor, Tensor, Tensor, Future[Tensor] | None]] = []

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, batch_idx: int, *_: Any
    ) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        batches = int(trainer.num_val_batches[0])
        if batch_idx not in np.linspace(0, batches - 1, min(self.count, batches)).round():
            return
        refined = outputs.get("refined") or [None]
        self.rows.append((batch["id"][0], batch["image"][0], batch["label"][0], outputs["prediction"][0], refined[0]))

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        if not self.rows:
            return
        palette = module.palette.numpy()
        samples = [(id_, image.permute(1, 2, 0).cpu().numpy(), labels) for id_, image, labels in self.labelled()]
        self.rows.clear()
        rows = [
            (id_, {"image": image, **{TITLES[kind]: colourise(label, palette) for kind, label in labels.items()}})
            for id_, image, labels in samples
        ]
        sheet = comparison_sheet(rows, module.classes, palette)
        name = f"step_{trainer.global_step:06d}" if trainer.state.fn == "fit" else self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        sheet.save(self.folder / f"{name}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("val/pictures", np.asarray(sheet), trainer.global_step, dataformats="HWC")
            elif isinstance(logger, WandbLogger):
                names = dict(enumerate(module.classes))  # void has none, and is not drawn
                ids, images, labels = zip(*samples, strict=True)
                masks = [{kind: {"mask_data": m, "class_labels": names} for kind, m in each.items()} for each in labels]
                logger.log_image("val/pictures", list(images), caption=ids, masks=masks, step=trainer.global_step)

    def labelled(self) -> Iterator[tuple[str, Tensor, dict[str, np.ndarray]]]:
        """Each sample's label maps, uint8, by kind: truth, prediction, and crf if all samples were refined."""
        everywhere = all(refined is not None and there(refined) for *_, refined in self.rows)
        for id_, image, truth, prediction, refined in self.rows:
            maps = {"truth": truth, "prediction": prediction}
            if everywhere and refined is not None:
                maps["crf"] = refined.result()
            yield id_, image, {kind: label.cpu().numpy().astype(np.uint8) for kind, label in maps.items()}


def there(refined: Future[Tensor]) -> bool:
    """Not given up by ``CRFRefinement``, which by now has waited for all others."""
    return refined.done() and not refined.cancelled() and refined.exception() is None
