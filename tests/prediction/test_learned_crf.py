"""A network that was trained through a CRF is used with the numbers that the CRF has learned, once."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.crf import DenseCRF
from src.data import Shapes
from src.evaluation.evaluate import evaluate
from src.models.geometry import upsample_scores
from src.predict import Predictor
from src.prediction.predict import predict
from src.system.errors import UserError
from src.training.segmenter import Segmenter
from src.tuning.tune import tune
from tests.checkpoints import CRF, SHAPES, segmenter, write_checkpoint
from tests.models.networks import composed

EXACT = {"accelerator": "cpu", "precision": "32-true"}


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a checkpoint with other numbers than those that its configuration begins with."""
    path = tmp_path_factory.mktemp("net") / "net.ckpt"
    content = write_checkpoint(path, dataset=SHAPES, crf=CRF)
    with torch.no_grad():
        content.model.crf.mean_field.kernel_weights.copy_(torch.tensor([7.0, 2.0]))
        content.model.crf.mean_field.bias[1] = 2.0
    torch.save({"hyper_parameters": dict(content.hparams), "state_dict": content.state_dict()}, path)
    return path


def labels(pixels: np.ndarray, module: Segmenter, crf: DenseCRF | None) -> np.ndarray:
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    with torch.no_grad():
        logits = upsample_scores(module.model(image[None]), image.shape[-2:])[0]
    return (logits if crf is None else crf(image, logits=logits)).argmax(0).numpy()


def expected(pixels: np.ndarray, refined: bool = True) -> np.ndarray:
    """Return labels by a CRF that is written out here."""
    crf = DenseCRF(7, 20, 15, 2, 3, 10, bias=[0, 2, 0, 0, 0, 0, 0])
    return labels(pixels, segmenter(crf=CRF), crf if refined else None)


def picture() -> np.ndarray:
    return Shapes("val", {"val": 5}, size=60)[2].image


def test_predictor_uses_it_unless_told_otherwise(ckpt: Path) -> None:
    pixels = picture()
    assert (expected(pixels) != expected(pixels, refined=False)).mean() > 0.01
    for predictor in (Predictor(ckpt, **EXACT), Predictor(ckpt, DenseCRF(1, 5, 5), **EXACT)):
        assert (predictor(pixels).label == expected(pixels)).mean() > 0.999
        assert (predictor(pixels, probabilities=True).probabilities.argmax(0) == expected(pixels)).mean() > 0.999
    assert np.array_equal(Predictor(ckpt, None, **EXACT)(pixels).label, expected(pixels, refined=False))


@pytest.mark.parametrize("crf", ["deeplab", "none"])
def test_predict_uses_it_whatever_the_preset(ckpt: Path, crf: str, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    options = [f"ckpt={ckpt}", f"input={tmp_path / 'a.png'}", f"output={tmp_path / 'out'}", f"crf={crf}"]
    assert predict(composed(*options, "accelerator=cpu", "precision=32-true", name="predict")) == []
    found = np.array(Image.open(tmp_path / "out" / "masks" / "a.png"))
    assert (found == expected(picture(), refined=crf != "none")).mean() > 0.999


def test_evaluate_counts_the_network_and_the_crf_on_it(ckpt: Path, tmp_path: Path) -> None:
    options = [f"ckpt={ckpt}", "trainer=cpu", "trainer.precision=32-true", "num_workers=0", "callbacks.progress=null"]
    metrics = evaluate(composed(*options, f"paths.output_dir={tmp_path}", name="evaluate"))
    samples = [Shapes("val", {"val": 5}, size=60)[index] for index in range(5)]
    for name, refined in (("val/pixel_accuracy", False), ("val/pixel_accuracy_crf", True)):
        hits = sum(int((expected(image, refined) == label).sum()) for image, label, _ in samples)
        count = sum(int((label != 255).sum()) for _, label, _ in samples)
        assert metrics[name] == pytest.approx(hits / count, abs=2e-4)
    assert (
        json.loads((tmp_path / "metrics.json").read_text())["val/pixel_accuracy_crf"] != metrics["val/pixel_accuracy"]
    )


def test_tune_crf_says_that_its_numbers_would_not_be_used(ckpt: Path, tmp_path: Path) -> None:
    config = composed(f"ckpt={ckpt}", "name=null", f"paths.output_dir={tmp_path}", name="tune_crf")
    with pytest.raises(UserError, match=r"was trained through a CRF"):
        tune(config)
