"""Images of any size in training and inference: shapes fit, metrics are finite, and labels are classes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from src.crf import DenseCRF
from src.data import Shapes, train_transform
from src.metrics import TrimapMetrics
from src.models import Inference
from src.models.geometry import score_stride, upsample_scores
from src.training.losses import CrossEntropy, SegmentationLoss
from src.training.segmenter import Segmenter
from tests.checkpoints import segmenter

sides = st.one_of(st.integers(1, 40), st.integers(1, 3), st.sampled_from([64, 65, 66, 129, 300]))
inferences = st.fixed_dictionaries(
    {
        "scales": st.lists(st.floats(0.01, 2), min_size=1, max_size=2),
        "flip": st.booleans(),
        "window": st.one_of(st.none(), st.integers(1, 80)),
    }
)


@pytest.fixture(scope="module")
def module() -> Segmenter:
    return segmenter()


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


@given(height=sides, width=sides, options=inferences)
@example(height=1, width=1, options={"scales": [0.01], "flip": True, "window": 1})
@example(height=1, width=300, options={"scales": [1.0], "flip": False, "window": None})
def test_inference_and_crf_serve_every_size(
    module: Segmenter, height: int, width: int, options: dict[str, Any]
) -> None:
    if options["window"] is not None:
        options["window"] = max(options["window"], max(height, width) // 8 + 1)  # thousands of windows take long
    image = torch.from_numpy(picture(height, width)).permute(2, 0, 1)
    with torch.no_grad():
        scores = Inference(**options)(module, image[None])
    full = upsample_scores(scores, (height, width))
    assert full.shape == (1, len(Shapes.classes), height, width)
    assert bool(full.isfinite().all())
    stride = score_stride(scores.shape[-2:], (height, width))
    labels = DenseCRF(4, 10, 10, iterations=2, engine="torch").refine_labels(image, scores[0], stride)
    assert labels.shape == (height, width)
    assert int(labels.max()) < len(Shapes.classes)
    truth = labels.clone()
    truth[0, 0] = 255
    metrics = TrimapMetrics(len(Shapes.classes), 3)
    metrics.update(labels[None], truth[None])
    found = metrics.compute()
    if height * width > 1:
        assert float(found["miou"]) == 1
        assert float(found["pixel_accuracy"]) == 1


@given(
    height=sides,
    width=sides,
    crop=st.one_of(st.integers(1, 70), st.sampled_from([33, 65])),
    scale=st.one_of(st.none(), st.tuples(st.floats(0.05, 1), st.floats(1, 2))),
    seed=st.integers(0, 9),
)
@example(height=1, width=1, crop=33, scale=(0.05, 0.05), seed=0)
@example(height=1, width=1, crop=1, scale=(0.75, 1.0), seed=0)
@example(height=1, width=300, crop=1, scale=(0.05, 2.0), seed=0)
def test_training_takes_every_size(
    module: Segmenter, height: int, width: int, crop: int, scale: Any, seed: int
) -> None:
    image = picture(height, width)
    label = np.where(image[..., 0] > 200, 255, image[..., 0] % 7).astype(np.uint8)
    transform = train_transform(crop, scale)
    transform.set_random_seed(seed)
    found = transform(image=image, mask=label)
    assert found["image"].shape == (crop, crop, 3)
    assert found["mask"].shape == (crop, crop)
    assert set(np.unique(found["mask"])) <= {*np.unique(label).tolist(), 255}
    batch = torch.from_numpy(np.stack([found["image"]] * 2)).permute(0, 3, 1, 2)
    masks = torch.from_numpy(np.stack([found["mask"]] * 2))
    for grid in ("scores", "image"):
        loss = SegmentationLoss(CrossEntropy(), grid)(module(batch), masks)
        assert bool(loss.isfinite())
        assert float(loss.detach()) >= 0
