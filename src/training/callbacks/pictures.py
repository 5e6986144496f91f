"""Save pictures of predictions to disk and to the loggers."""

from pathlib import Path

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from src.drawing.pictures import colourise, comparison_sheet
from src.runs.metric_names import CRF, NETWORK
from src.training.segmenter import Segmenter
from src.training.validation import LabelledImage

TRUTH = "truth (white: void)"
TAGS = {TRUTH: "truth", NETWORK.title: "prediction", CRF.title: "crf"}  # names of W&B's masks


class PredictionPictures(Callback):
    """Draws a sheet for each validation: images, their true labels and the predictions, without and with CRF.

    TensorBoard gets the sheet. W&B gets the images, with the label maps as masks to switch on and off.

    Args:
        folder: where to write a PNG for each validation.
        count: number of samples on a sheet, evenly spread over the validation set, always the same.
        name: file name of a sheet outside training; during training, it is the step.
    """

    def __init__(self, folder: str, count: int = 4, name: str = "best") -> None:
        if count < 1 or count % 1:
            raise ValueError(f"count={count}: must be a whole number, 1 or more")
        self.folder = Path(folder)
        self.count = count
        self.name = name
        self.indices: frozenset[int] = frozenset()  # of the images to show, in the validation set
        self.collected: dict[int, dict[str, LabelledImage]] = {}  # by index and title

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        if trainer.is_global_zero:
            module.validation.readers.append(self.collect)

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        images = 0 if trainer.sanity_checking else int(trainer.num_val_batches[0])  # one image per batch
        self.indices = frozenset(np.linspace(0, images - 1, min(self.count, images)).round().astype(int).tolist())
        self.collected = {}

    def collect(self, image: LabelledImage) -> None:
        """Keep an image if the sheet shows it."""
        if image.position in self.indices:
            self.collected.setdefault(image.position, {})[image.method.title] = image

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        if not self.collected:
            return
        module.validation.wait()
        titles = set.intersection(*map(set, self.collected.values()))  # the CRF's only if all images were refined
        palette = module.palette.numpy()
        samples = [self.sample(self.collected[index], titles) for index in sorted(self.collected)]
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
                names = dict(enumerate(module.classes))  # void has no name, so it is not drawn
                ids, images, labels = zip(*samples, strict=True)
                masks = [
                    {TAGS[title]: {"mask_data": label, "class_labels": names} for title, label in label_maps.items()}
                    for label_maps in labels
                ]
                logger.log_image("val/pictures", list(images), caption=ids, masks=masks, step=trainer.global_step)
        self.collected = {}

    @staticmethod
    def sample(by_title: dict[str, LabelledImage], titles: set[str]) -> tuple[str, np.ndarray, dict[str, np.ndarray]]:
        """Return id, image (height, width, 3) and label maps by title, the true labels first."""
        first = by_title[NETWORK.title]
        labels = {TRUTH: first.truth}
        labels |= {m.title: by_title[m.title].prediction for m in (NETWORK, CRF) if m.title in titles}
        pixels = as_array(first.image.permute(1, 2, 0))
        return first.id, pixels, {title: as_array(label) for title, label in labels.items()}

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        if self.collect in module.validation.readers:
            module.validation.readers.remove(self.collect)


def as_array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy().astype(np.uint8)
