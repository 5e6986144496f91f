"""Predictions to look at, on disk and in the loggers."""

from pathlib import Path

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from src.drawing.pictures import colourise, comparison_sheet
from src.runs.figures import CRF, NETWORK
from src.training.segmenter import Segmenter
from src.training.validation import LabelledImage

TRUTH = "truth (white: void)"
TAGS = {TRUTH: "truth", NETWORK.title: "prediction", CRF.title: "crf"}  # of W&B's masks


class PredictionPictures(Callback):
    """One sheet a validation: image, truth, prediction and, where a CRF runs, its refinement, side by side.

    TensorBoard gets the sheet; W&B the images, with truth, prediction and refinement as masks to switch on and off.

    Args:
        folder: where the PNGs go, one for every validation.
        count: samples on a sheet, evenly spread over the validation set, always the same.
        name: of a sheet outside of training; within, it is the iteration.
    """

    def __init__(self, folder: str, count: int = 4, name: str = "best") -> None:
        if count < 1 or count % 1:
            raise ValueError(f"count={count}: must be a whole number, 1 or more")
        self.folder = Path(folder)
        self.count = count
        self.name = name
        self.chosen: frozenset[int] = frozenset()  # places in the validation set
        self.shown: dict[int, dict[str, LabelledImage]] = {}  # by place and title

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        if trainer.is_global_zero:
            module.validation.readers.append(self.keep)

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        images = 0 if trainer.sanity_checking else int(trainer.num_val_batches[0])  # one image a batch
        self.chosen = frozenset(np.linspace(0, images - 1, min(self.count, images)).round().astype(int).tolist())
        self.shown = {}

    def keep(self, found: LabelledImage) -> None:
        """Keep what goes on the sheet."""
        if found.place in self.chosen:
            self.shown.setdefault(found.place, {})[found.method.title] = found

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        if not self.shown:
            return
        module.validation.wait()
        titles = set.intersection(*(set(found) for found in self.shown.values()))  # the CRF's where all were refined
        palette = module.palette.numpy()
        samples = [self.sample(self.shown[place], titles) for place in sorted(self.shown)]
        rows = [
            (id_, {"image": image, **{title: colourise(label, palette) for title, label in labels.items()}})
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
                masks = [
                    {TAGS[title]: {"mask_data": label, "class_labels": names} for title, label in each.items()}
                    for each in labels
                ]
                logger.log_image("val/pictures", list(images), caption=ids, masks=masks, step=trainer.global_step)
        self.shown = {}

    @staticmethod
    def sample(found: dict[str, LabelledImage], titles: set[str]) -> tuple[str, np.ndarray, dict[str, np.ndarray]]:
        """Return id, image (height, width, 3) and label maps by title, truth first."""
        one = found[NETWORK.title]
        labels = {TRUTH: one.truth} | {m.title: found[m.title].label for m in (NETWORK, CRF) if m.title in titles}
        return one.id, as_array(one.image.permute(1, 2, 0)), {title: as_array(label) for title, label in labels.items()}

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        if self.keep in module.validation.readers:
            module.validation.readers.remove(self.keep)


def as_array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy().astype(np.uint8)
