"""Every kind of image and mask through every command: equal pixels, labels and predictions.

The kinds, their writers and the expected pixels and values are in tests/data/test_decode.py.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from src.data import Folder
from src.data.colours import voc_palette
from src.evaluation.evaluate import evaluate
from src.prediction.export import export
from src.prediction.predict import predict
from src.prediction.predictor import Predictor
from src.training.callbacks.archive import ServerArchive
from src.training.datamodule import SegmentationDataModule
from tests.checkpoints import write_checkpoint
from tests.data.test_decode import IMAGES, MASKS, save
from tests.models.networks import composed

READABLE_MASKS = {
    kind: row for kind, row in MASKS.items() if np.ndim(row[2]) == 2 and np.max(row[2]) < 1 << 16
}  # as values of classes; colours have a test in tests/data/test_datasets.py
VALUES = sorted({int(value) for _, _, values in READABLE_MASKS.values() for value in np.ravel(values)})
Arrays = dict[str, tuple[np.ndarray, np.ndarray]]  # image and label by id


class Case(NamedTuple):
    """A data set with a sample of every kind, and its expected samples."""

    root: Path
    ckpt: Path
    options: dict[str, Any]
    expected: Arrays


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    root = tmp_path_factory.mktemp("kinds")
    for sub in ("images", "masks"):
        (root / sub).mkdir()
    expected = {}
    for number, (ending, write, pixels) in enumerate(IMAGES.values()):
        image = np.array(pixels, np.uint8)
        label = np.arange(image.shape[0] * image.shape[1], dtype=np.uint8).reshape(image.shape[:2]) % 3
        write(root / "images" / f"image{number}.{ending}")
        save(np.array(VALUES, np.uint16)[label], root / "masks" / f"image{number}.png")
        expected[f"image{number}"] = image, label
    for number, (ending, write, values) in enumerate(READABLE_MASKS.values()):
        label = np.searchsorted(VALUES, np.array(values)).astype(np.uint8)
        image = np.arange(3 * label.size, dtype=np.uint8).reshape(*label.shape, 3)
        write(root / "masks" / f"mask{number}.{ending}")
        save(image, root / "images" / f"mask{number}.png")
        expected[f"mask{number}"] = image, label
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text("\n".join(expected))
    options = {"root": str(root), "classes": [f"value {value}" for value in VALUES], "values": VALUES, "void": None}
    dataset = {"_target_": "src.data.Folder", "_partial_": True, **options}
    ckpt = root / "net.ckpt"
    write_checkpoint(ckpt, classes=options["classes"], palette=voc_palette(len(VALUES)), dataset=dataset)
    return Case(root, ckpt, options, expected)


def assert_same(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for id_, arrays in expected.items():
        for array, truth in zip(found[id_], arrays, strict=True):
            assert array.dtype == np.uint8, id_
            assert np.array_equal(array, truth), id_


def batches(loader: Any) -> Arrays:
    return {batch["id"][0]: (batch["image"][0].permute(1, 2, 0).numpy(), batch["label"][0].numpy()) for batch in loader}


def test_training_reads_files_and_cache_alike(case: Case, tmp_path: Path) -> None:
    for cache in (None, str(tmp_path)):
        data = SegmentationDataModule(partial(Folder, **case.options, cache=cache), None, batch_size=1, num_workers=0)
        data.check()
        data.setup("fit")
        assert_same(batches(data.train_dataloader()), case.expected)
        assert_same(batches(data.val_dataloader()), case.expected)


def test_evaluate_archive_predict_and_export_agree(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # sizes are symbols while a graph is drawn
    evaluated: Arrays = {}
    save_in_archive = ServerArchive.save

    def watch(self: ServerArchive, image: Any) -> None:
        evaluated[image.id] = image.image.permute(1, 2, 0).numpy(), image.truth.numpy()
        save_in_archive(self, image)

    monkeypatch.setattr(ServerArchive, "save", watch)
    common = (f"ckpt={case.ckpt}", f"paths.output_dir={tmp_path}")
    cpu = ("trainer.accelerator=cpu", "trainer.precision=32-true", "num_workers=0")
    figures = evaluate(composed(*common, *cpu, "crf=none", "archive=comp6", name="evaluate"))
    assert_same(evaluated, case.expected)

    cpu = ("accelerator=cpu", "precision=32-true", "crf=none", "overlays=false")
    assert predict(composed(*common, *cpu, f"input={case.root / 'images'}", name="predict")) == []
    exported = torch.jit.load(export(composed(*common, "format=torchscript", name="export")))
    predictor = Predictor(case.ckpt, accelerator="cpu", precision="32-true")
    archive = tmp_path / "archive/network/results/VOC2012/Segmentation/comp6_val_cls"
    right = pixels = 0
    for path in sorted((case.root / "images").iterdir()):
        image, label = case.expected[path.stem]
        assert np.array_equal(Predictor.pixels(path), image), path.name
        prediction = predictor(image).label
        scores = exported(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
        others = {
            "predictor": predictor(path).label,
            "predict": np.asarray(Image.open(tmp_path / "masks" / f"{path.stem}.png")),
            "archive": np.asarray(Image.open(archive / f"{path.stem}.png")),
            "export": scores[0].argmax(0).numpy(),
        }
        for name, other in others.items():
            assert np.array_equal(other, prediction), (path.name, name)
        right, pixels = right + int((prediction == label).sum()), pixels + label.size
    assert figures["val/pixel_accuracy"] == pytest.approx(right / pixels)
