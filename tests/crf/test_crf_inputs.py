"""Inputs of the CRF: shapes, dtypes and edge cases that are accepted, and errors for the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from src.crf import DenseCRF, DenseCRFModule, inputs
from src.crf.engines import native_engine
from src.crf.inputs import upsample
from tests.crf.samples import engine_or_skip, network_like_scores

ENGINES = ["native", "torch", "exact"]


@pytest.fixture
def pair(small_image):
    size = tuple(small_image.shape[1:])
    return small_image, upsample(network_like_scores(size, 4, present=4), size, 8)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sxy": 0}, "sxy=0"),
        ({"sxy": (50, -1)}, "sxy=-1"),
        ({"sxy": (1, 2, 3)}, r"sxy=\[1, 2, 3\]: give one number, or two"),
        ({"srgb": -3}, "srgb=-3"),
        ({"sg": float("nan")}, "sg=nan"),
        ({"w1": -1}, "w1=-1"),
        ({"w2": float("inf")}, "w2=inf"),
        ({"iterations": -1}, "iterations=-1"),
        ({"prune": 1.5}, "prune=1.5"),
        ({"engine": "cuda"}, "engine='cuda' is unknown"),
    ],
)
def test_invalid_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        DenseCRF(**parameters)


def spoil(tensor, value):
    tensor = tensor.clone()
    tensor[0, 0, 0] = value
    return tensor


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, i, s: c(i, logits=spoil(s, float("nan"))), "logits has values that are not finite"),
        (lambda c, i, s: c(i, spoil(s.softmax(0), float("inf"))), "not finite"),
        (lambda c, i, s: c(i, s), "not normalised"),
        (lambda c, i, s: c(i, 2 * s.softmax(0)), "not normalised .sums over classes from 2"),
        (lambda c, i, s: c(i, logits=s[:, 1:]), "image is .40, 52. but scores are .39, 52."),
        (lambda c, i, s: c(i[:2], logits=s), "image has shape .2, 40, 52."),
        (lambda c, i, s: c(i[:, :0], logits=s), "no pixels"),
        (lambda c, i, s: c(i.float() - 100, logits=s), "raw image"),
        (lambda c, i, s: c(i.float() * 3, logits=s), "raw image"),
        (lambda c, i, s: c(i, logits=s.long()), "expected a floating type"),
        (lambda c, i, s: c(i, logits=s[0]), "expected classes x height x width"),
        (lambda c, i, s: c(i), "either probabilities or logits"),
        (lambda c, i, s: c(i, logits=s[None]), "give one image for each"),
        (lambda c, i, s: c.refine_labels(i, s[:, :4, :4]), "reaches 25x25"),
        (lambda c, i, s: c.refine_labels(i, s, stride=0), "stride=0"),
    ],
)
def test_invalid_inputs_are_named(pair, call, message):
    with pytest.raises(ValueError, match=message):
        call(DenseCRF(), *pair)


def test_an_image_in_0_to_1_gives_a_warning(pair):
    with pytest.warns(UserWarning, match=r"0\.\.1"):
        DenseCRF(iterations=1)(pair[0].float() / 255, logits=pair[1])


@pytest.mark.parametrize("engine", ENGINES)
def test_degenerate_sizes(engine):
    crf = DenseCRF(engine=engine_or_skip(engine))
    pixel = torch.full((3, 1, 1), 7, dtype=torch.uint8)
    assert torch.equal(crf(pixel, logits=torch.zeros(1, 1, 1)), torch.ones(1, 1, 1))
    assert crf(pixel, logits=torch.tensor([3.0, 0.0])[:, None, None])[0] > 0.95
    row = torch.arange(30, dtype=torch.uint8).expand(3, 1, 30).contiguous()
    assert torch.allclose(crf(row, logits=torch.zeros(1, 1, 30)), torch.ones(()))
    assert torch.allclose(crf(row.mT, logits=torch.zeros(2, 30, 1)), torch.full((), 0.5))
    assert torch.equal(crf.refine_labels(pixel, torch.zeros(2, 1, 1)), torch.zeros(1, 1, dtype=torch.uint8))


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_256_classes(small_image, engine):
    size = tuple(small_image.shape[1:])
    score_map = network_like_scores(size, 256, present=256)
    logits = upsample(score_map, size, 8)
    crf = DenseCRF(4, 20, 10, engine=engine_or_skip(engine))
    labels = crf.refine_labels(small_image, score_map)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), crf(small_image, logits=logits).argmax(0))
    uniform = DenseCRF(prune=0.5, engine=engine)(small_image, logits=torch.zeros(256, 40, 52))
    assert torch.allclose(uniform, torch.full((), 1 / 256), atol=1e-5)
    assert crf.refine_labels(small_image, network_like_scores(size, 300)).dtype == torch.int64


@pytest.mark.parametrize("engine", ENGINES)
def test_no_iterations_and_no_kernels_leave_the_probabilities(pair, engine):
    image, logits = pair
    for parameters in ({"iterations": 0}, {"w1": 0, "w2": 0}):
        q = DenseCRF(**parameters, engine=engine_or_skip(engine))(image, logits=logits)
        assert torch.allclose(q, logits.softmax(0), atol=1e-5)


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("scale", [1e-30, 300.0, 1e30])
def test_extreme_logits_and_weights(pair, engine, scale):
    image, logits = pair
    q = DenseCRF(1000, 50, 10, 1000, engine=engine_or_skip(engine))(image, logits=logits * scale)
    assert torch.isfinite(q).all()
    assert torch.allclose(q.sum(0), torch.ones(()), atol=1e-4)


def test_the_result_has_the_shape_dtype_and_type_of_the_input(pair):
    image, logits = pair
    crf = DenseCRF(iterations=2)
    expected = crf(image, logits=logits)
    for kind, tolerance in ((torch.float64, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-3)):
        q = crf(image, logits=logits.to(kind))
        assert q.dtype == kind
        assert (q.float() - crf(image, logits=logits.to(kind).float())).abs().max() <= tolerance
        assert crf(image, logits.softmax(0).to(kind)).dtype == kind
    array = crf(image.numpy(), logits=logits.numpy())
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, expected.numpy())
    assert torch.equal(crf(image.float(), logits=logits), expected)
    flipped = crf(image.flip(2), logits=logits.flip(2))  # not contiguous
    assert flipped.shape == expected.shape
    batch = crf(torch.stack([image, image]), logits=torch.stack([logits, logits]))
    assert torch.equal(batch[1], expected)
    some = crf([image, image[:, :9]], logits=[logits, logits[:, :9]])
    assert torch.equal(some[0], expected)
    assert some[1].shape == (4, 9, 52)


def test_zero_probabilities_are_accepted(pair):
    image, logits = pair
    hard = torch.nn.functional.one_hot(logits.argmax(0), 4).permute(2, 0, 1).float()
    q = DenseCRF()(image, hard)
    assert torch.isfinite(q).all()


def test_auto_logs_its_choice(caplog, monkeypatch):
    with caplog.at_level("INFO", "src.crf"):
        assert DenseCRF().engine_name in ("native", "torch")
        monkeypatch.setattr(native_engine, "native", None)
        monkeypatch.setattr(native_engine, "reason", "it was not built")
        assert DenseCRF().engine_name == "torch"
    assert "it was not built" in caplog.text
    with pytest.raises(ValueError, match="engine=native is not available, it was not built"):
        DenseCRF(engine="native")


def test_pydensecrf_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydensecrf", None)
    monkeypatch.setitem(__import__("sys").modules, "pydensecrf.densecrf", None)
    with pytest.raises(ImportError, match=r"deeplab-v1\[pydensecrf\]"):
        DenseCRF(engine="pydensecrf")


def test_the_module_rejects_another_number_of_classes(pair):
    with pytest.raises(ValueError, match="4 classes, the module was made for 3"):
        DenseCRFModule(3)(pair[0][None], pair[1][None])


def test_up_sampling_keeps_each_cell_on_its_pixel():
    score_map = torch.randn(2, 4, 5)
    full = upsample(score_map, (25, 33), 8)
    assert torch.allclose(full[:, ::8, ::8], score_map, atol=1e-6)
    assert torch.allclose(full[:, 4, 0], (score_map[:, 0, 0] + score_map[:, 1, 0]) / 2, atol=1e-6)
    inputs.check_covers((25, 33), score_map, 8)


@pytest.mark.slow
def test_twenty_megapixels(voc_image):
    engine_or_skip("native")
    image = torch.nn.functional.interpolate(voc_image[None].float(), (4000, 5000), mode="bilinear")[0].byte()
    score_map = network_like_scores((4000, 5000), 21)
    labels = DenseCRF(prune=0.01, engine="native").refine_labels(image, score_map)
    assert labels.shape == (4000, 5000)
    assert labels.unique().numel() > 2
