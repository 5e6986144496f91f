"""Write predictions in the layout of the PASCAL VOC evaluation server."""

import tarfile
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from src.drawing.pictures import indexed_image
from src.runs.metric_names import CRF, NETWORK
from src.training.segmenter import Segmenter
from src.training.validation import LabelledImage

FOLDERS = {NETWORK: "network", CRF: "crf"}


class ServerArchive(Callback):
    """Writes results/VOC2012/Segmentation/COMPETITION_SPLIT_cls/ID.png, and a .tar.gz of these files to upload.

    There is one archive for the network, and one for the CRF if it runs.

    Args:
        folder: where to write network/, crf/, network.tar.gz and crf.tar.gz.
        competition: "comp5" if only VOC's data was used in training, "comp6" if other data was used too, such as
            ImageNet weights.
        split: the split that the server evaluates.

    Raises:
        ValueError: if ``competition`` is neither "comp5" nor "comp6".
    """

    def __init__(self, folder: str, competition: str = "comp6", split: str = "test") -> None:
        if competition not in ("comp5", "comp6"):
            raise ValueError(f"archive={competition}: must be comp5 (VOC's data only) or comp6 (other data too)")
        self.folder = Path(folder)
        self.layout = Path("results", "VOC2012", "Segmentation", f"{competition}_{split}_cls")

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        self.palette = module.palette.numpy()
        module.validation.readers.append(self.save)

    def save(self, image: LabelledImage) -> None:
        """Write a prediction as a palette PNG."""
        path = self.folder / FOLDERS[image.method] / self.layout / f"{image.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        indexed_image(image.prediction.cpu().numpy().astype("uint8"), self.palette).save(path)

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        module.validation.wait()
        trainer.strategy.barrier()  # every process writes its own images
        if trainer.is_global_zero:
            for source in sorted(path for path in self.folder.iterdir() if path.is_dir()):
                with tarfile.open(self.folder / f"{source.name}.tar.gz", "w:gz") as archive:
                    archive.add(source / "results", "results")

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        module.validation.readers.remove(self.save)
