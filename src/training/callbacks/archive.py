"""Predictions in the layout that the PASCAL VOC evaluation server takes."""

import tarfile
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.drawing.pictures import indexed_image
from src.training.datamodule import Batch
from src.training.segmenter import Segmenter


class ServerArchive(Callback):
    """Writes results/VOC2012/Segmentation/COMPETITION_SPLIT_cls/ID.png, and a .tar.gz of it to upload.

    One for the network, and one for the CRF where it runs. Must stand after ``CRFRefinement`` in the list of callbacks.

    Args:
        folder: gets network/ and crf/, network.tar.gz and crf.tar.gz.
        competition: "comp5" for training on VOC's data alone, "comp6" where other data had a part, as ImageNet weights.
        split: that the server compares with.
    """

    def __init__(self, folder: str, competition: str = "comp6", split: str = "test") -> None:
        if competition not in ("comp5", "comp6"):
            raise ValueError(f"archive={competition}: must be comp5 (VOC's data alone) or comp6 (other data as well)")
        self.folder = Path(folder)
        self.layout = Path("results", "VOC2012", "Segmentation", f"{competition}_{split}_cls")
        self.under_way: deque[tuple[str, Future[Tensor]]] = deque()

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        assert isinstance(module, Segmenter)
        for id_, prediction in zip(batch["id"], outputs["prediction"], strict=True):
            self.save("network", id_, prediction, module)
        self.under_way.extend(zip(batch["id"], outputs.get("refined", []), strict=False))
        while self.under_way and self.under_way[0][1].done():
            self.save_refined(module)

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        while self.under_way:
            self.save_refined(module)
        trainer.strategy.barrier()  # every process writes its own images
        if trainer.is_global_zero:
            for source in sorted(path for path in self.folder.iterdir() if path.is_dir()):
                with tarfile.open(self.folder / f"{source.name}.tar.gz", "w:gz") as archive:
                    archive.add(source / "results", "results")

    def save_refined(self, module: Segmenter) -> None:
        id_, future = self.under_way.popleft()
        self.save("crf", id_, future.result(), module)

    def save(self, kind: str, id_: str, label: Tensor, module: Segmenter) -> None:
        path = self.folder / kind / self.layout / f"{id_}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        indexed_image(label.cpu().numpy().astype("uint8"), module.palette.numpy()).save(path)
