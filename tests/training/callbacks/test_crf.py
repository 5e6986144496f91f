"""The CRF in validation against pydensecrf, on one image at a time."""

from functools import partial

import lightning as L
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from src.crf import DenseCRF
from src.data import Shapes
from src.metrics import SegmentationMetrics
from src.system.errors import UserError
from src.training.callbacks import CRFRefinement
from src.training.datamodule import SegmentationDataModule
from src.training.segmenter import Segmenter
from tests import checkpoints
from tests.faults.lost_workers import DyingCRF, HangingCRF

PARAMETERS = {"w1": 5.0, "sxy": 30.0, "srgb": 10.0, "w2": 3.0, "sg": 3.0, "iterations": 5}


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return checkpoints.segmenter()


@pytest.fixture
def datamodule() -> SegmentationDataModule:
    return SegmentationDataModule(partial(Shapes, samples={"train": 1, "val": 5}, size=60), None, 1, 0)


def validate(segmenter, datamodule, *callbacks) -> dict[str, float]:
    trainer = L.Trainer(
        accelerator="cpu", logger=False, callbacks=list(callbacks), enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    return dict(trainer.validate(segmenter, datamodule, verbose=False)[0])


def reference(segmenter, dataset, count) -> float:
    """Return the mIoU by pydensecrf itself, from the definition of its energy."""
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    metrics = SegmentationMetrics(len(dataset.classes))
    for image, label, _ in map(dataset.__getitem__, range(count)):
        with torch.no_grad():
            scores = segmenter(torch.from_numpy(image).permute(2, 0, 1)[None])
        full = F.interpolate(scores, size=(65, 65), mode="bilinear", align_corners=True)[0, :, :60, :60]
        crf = densecrf.DenseCRF2D(60, 60, len(dataset.classes))
        crf.setUnaryEnergy(-full.log_softmax(0).flatten(1).numpy())
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=30, srgb=10, rgbim=np.ascontiguousarray(image), compat=5)
        labels = np.array(crf.inference(5)).argmax(0).reshape(60, 60)
        metrics.update(torch.from_numpy(labels), torch.from_numpy(label))
    return float(metrics.compute()["miou"])


@pytest.mark.parametrize("engine", ["auto", "torch", "pydensecrf"])
def test_refined_miou_is_pydensecrfs(segmenter, datamodule, engine):
    if engine == "pydensecrf":
        pytest.importorskip("pydensecrf.densecrf")
    workers = 1 if engine == "pydensecrf" else None  # processes, which take seconds to start
    metrics = validate(segmenter, datamodule, CRFRefinement(DenseCRF(**PARAMETERS, engine=engine), workers=workers))
    assert metrics["val/miou_crf"] != metrics["val/miou"]
    assert metrics["val/miou_crf"] == pytest.approx(reference(segmenter, datamodule.val_set, 5), abs=1e-3)


def test_first_n_counts_only_the_first_n(segmenter, datamodule):
    metrics = validate(segmenter, datamodule, CRFRefinement(DenseCRF(**PARAMETERS), first_n=2))
    assert metrics["val/miou_crf"] == pytest.approx(reference(segmenter, datamodule.val_set, 2), abs=1e-3)


def test_a_validation_without_the_callback_has_no_crf(segmenter, datamodule):
    assert "val/miou_crf" in validate(segmenter, datamodule, CRFRefinement(DenseCRF(**PARAMETERS), first_n=1))
    assert "val/miou_crf" not in validate(segmenter, datamodule)


def test_a_failing_image_is_not_swallowed(segmenter, datamodule):
    class Broken(DenseCRF):
        def refine_labels(self, *_, **__):
            raise RuntimeError("engine broke")

    with pytest.raises(RuntimeError, match="engine broke"):
        validate(segmenter, datamodule, CRFRefinement(Broken(**PARAMETERS)))


@pytest.mark.parametrize(("crf", "said"), [(HangingCRF, "more than 0.1 s"), (DyingCRF, "was killed")])
def test_evaluation_ends_where_a_worker_is_lost(segmenter, datamodule, tmp_path, crf, said):
    """A training would continue; see tests/faults."""
    limit = 0.1 if crf is HangingCRF else 600
    callback = CRFRefinement(crf(str(tmp_path / "once"), **PARAMETERS), workers=1, time_limit=limit)
    with pytest.raises(UserError, match=said):
        validate(segmenter, datamodule, callback)


def test_a_time_limit_beyond_what_python_can_wait(segmenter, datamodule):
    assert validate(segmenter, datamodule, CRFRefinement(DenseCRF(**PARAMETERS), time_limit=1e30))["val/miou_crf"] > 0


@pytest.mark.parametrize("name", ["every_n_validations", "first_n", "workers", "time_limit"])
def test_bad_values_are_named(name):
    with pytest.raises(ValueError, match=f"{name}=0: must be positive"):
        CRFRefinement(DenseCRF(), **{name: 0})
