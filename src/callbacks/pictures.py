"""Predictions to look at, on disk and in the loggers."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor

from src.data.datamodule import Batch
from src.segmenter import Segmenter
from src.visualization import colourise, comparison_sheet


class PredictionPictures(Callback):
    """One sheet a validation: image, truth, prediction and, where a CRF runs, its refinement, side by side.

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
        everywhere = all(refined is not None for *_, refined in self.rows)
        sheet_rows = []
        for id_, image, label, prediction, refined in self.rows:
            pictures = {
                "image": image.permute(1, 2, 0).cpu().numpy(),
                "truth (white: void)": colourise(label.cpu().numpy(), palette),
                "network": colourise(prediction.cpu().numpy().astype(np.uint8), palette),
            }
            if everywhere and refined is not None:
                pictures["network + CRF"] = colourise(refined.result().cpu().numpy().astype(np.uint8), palette)
            sheet_rows.append((id_, pictures))
        self.rows.clear()
        sheet = comparison_sheet(sheet_rows, module.classes, palette)
        name = f"step_{trainer.global_step:06d}" if trainer.state.fn == "fit" else self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        sheet.save(self.folder / f"{name}.png")
        self.log_sheet(trainer, sheet)

    @staticmethod
    def log_sheet(trainer: Trainer, sheet: Image.Image) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("val/pictures", np.asarray(sheet), trainer.global_step, dataformats="HWC")
            elif isinstance(logger, WandbLogger):
                logger.log_image("val/pictures", [sheet])
