"""Every engine against pydensecrf and against the exact engine."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from src.crf import DenseCRF, Parameters
from src.crf.engines.torch_engine import TorchEngine
from src.crf.inputs import upsample
from tests.commands import run_command
from tests.crf.samples import engine_or_skip, network_like_scores

SETTINGS = {"A": (4, 67, 3, 3, 3), "B": (4, 80, 10, 3, 3), "deeplab": (5, 50, 10, 3, 3)}


def differing(q: Tensor, reference: Tensor) -> int:
    return int((q.argmax(0) != reference.argmax(0)).sum())


@pytest.fixture(scope="session", params=SETTINGS)
def reference(request, voc_image):
    """Return parameters, image, score map, logits and pydensecrf's Q for a part of a natural image (21 classes)."""
    engine_or_skip("pydensecrf")
    voc_image = voc_image[:, :200, 120:370].contiguous()
    size = tuple(voc_image.shape[1:])
    score_map = network_like_scores(size, 21, seed=1)
    logits = upsample(score_map, size, 8)
    parameters = SETTINGS[request.param]
    return (
        parameters,
        voc_image,
        score_map,
        logits,
        DenseCRF(*parameters, engine="pydensecrf")(voc_image, logits=logits),
    )


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_exact_mode_gives_the_labels_of_pydensecrf(reference, engine):
    parameters, image, _, logits, expected = reference
    q = DenseCRF(*parameters, engine=engine_or_skip(engine))(image, logits=logits)
    assert differing(q, expected) <= image[0].numel() // 100_000
    assert (q - expected).abs().max() < 1e-3


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_pruning_changes_at_most_one_label_in_ten_thousand(reference, engine):
    parameters, image, _, logits, expected = reference
    q = DenseCRF(*parameters, prune=0.01, engine=engine_or_skip(engine))(image, logits=logits)
    assert differing(q, expected) <= image[0].numel() // 10_000
    assert torch.allclose(q.sum(0), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("w1", [13.0, 900.0])  # at the limit without subtracting a maximum, and above
@pytest.mark.parametrize("scale", [1, 1000])
def test_large_weights_and_scores_do_not_overflow(small_image, engine, w1, scale):
    engine_or_skip("pydensecrf"), engine_or_skip(engine)
    logits = scale * upsample(network_like_scores((40, 52), 21, seed=2), (40, 52), 8)
    q, expected = (DenseCRF(w1, 80, 10, 3, 3, engine=e)(small_image, logits=logits) for e in (engine, "pydensecrf"))
    assert differing(q, expected) == 0
    assert (q - expected).abs().max() < 1e-3 * max(1, w1 / 100)  # messages are as large, and rounded


@pytest.mark.parametrize("prune", [0.0, 0.01])
def test_labels_from_a_score_map_are_those_of_the_up_sampled_logits(reference, prune):
    engine_or_skip("native")
    parameters, image, score_map, _logits, expected = reference
    labels = DenseCRF(*parameters, prune=prune, engine="native").refine_labels(image, score_map, stride=8)
    assert labels.dtype == torch.uint8
    assert labels.shape == image.shape[1:]
    assert int((labels != expected.argmax(0)).sum()) <= image[0].numel() // 10_000


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("w1", [3, 10])
def test_pixels_that_settle_early_end_with_the_same_labels(w1, threads):
    """With pruning, the native engine stops updating pixels that are nearly certain; the torch engine updates all."""
    image, size = patchwork(150, 170), (150, 170)
    score_map = 2 * network_like_scores(size, 11, seed=1, present=8)
    crf = DenseCRF(w1, 40, 15, prune=0.01, engine=engine_or_skip("native"))
    expected = DenseCRF(w1, 40, 15, engine="torch").refine_labels(image, score_map)
    after_two = DenseCRF(w1, 40, 15, iterations=2, engine="torch")(image, logits=upsample(score_map, size, 8))
    certain = after_two.amax(0) > 1 - min(1e-3, math.exp(-w1 - 3))
    assert certain.float().mean() > 0.5
    assert (after_two.argmax(0) != expected).float().mean() > 0.01  # labels that two iterations do not have yet
    labels = crf.refine_labels(image, score_map, threads=threads)
    assert int((labels != expected).sum()) <= image[0].numel() // 10_000


def test_unsettled_pixels_keep_the_mass_of_their_pruned_classes():
    """120 classes, each too improbable to be kept, have up to half of the probability in every other band of pixels."""
    image = patchwork(150, 170)
    kept = 2 * network_like_scores((150, 170), 8, seed=1, present=8)
    level = torch.where(torch.arange(kept.shape[1]) % 4 < 2, -4.9, -14.0)
    score_map = torch.cat([kept, (kept.logsumexp(0) + level[:, None]).expand(120, -1, -1)])
    engines = (engine_or_skip("native"), "torch")
    labels, expected = (DenseCRF(3, 40, 15, prune=0.01, engine=e).refine_labels(image, score_map) for e in engines)
    assert int((labels != expected).sum()) <= image[0].numel() // 10_000


@pytest.mark.parametrize("size", [(1, 1), (65, 1), (70, 130)])
def test_if_all_pixels_settle_the_labels_are_those_of_the_scores(size):
    """No message can outweigh a lead of 60, so the largest score decides."""
    score_map = torch.zeros(12, -(-(size[0] - 1) // 8) + 1, -(-(size[1] - 1) // 8) + 1)
    score_map[3] = 60
    labels = DenseCRF(5, 50, 10, prune=0.01, engine=engine_or_skip("native")).refine_labels(patchwork(*size), score_map)
    assert torch.equal(labels, torch.full(size, 3, dtype=torch.uint8))


def patchwork(height: int, width: int) -> Tensor:
    """Return an image of squares of 25 pixels, each in its own colour, with some noise."""
    random = torch.Generator().manual_seed(5)
    colours = torch.randint(0, 200, (3, -(-height // 25), -(-width // 25)), generator=random)
    image = colours.repeat_interleave(25, 1).repeat_interleave(25, 2)[:, :height, :width]
    return (image + torch.randint(0, 30, image.shape, generator=random)).to(torch.uint8)


@pytest.mark.slow  # of VOC, with 21 classes; CamVid's below has 11
def test_a_whole_image(voc_image):
    engine_or_skip("native"), engine_or_skip("pydensecrf")
    size = tuple(voc_image.shape[1:])
    logits = upsample(network_like_scores(size, 21), size, 8)
    expected = DenseCRF(*SETTINGS["A"], engine="pydensecrf")(voc_image, logits=logits)
    q = DenseCRF(*SETTINGS["A"], engine="native")(voc_image, logits=logits)
    assert differing(q, expected) <= 1
    assert (q - expected).abs().max() < 1e-3


def test_camvid_scores_as_probabilities(camvid_image):
    engine_or_skip("native"), engine_or_skip("pydensecrf")
    size = tuple(camvid_image.shape[1:])
    p = upsample(network_like_scores(size, 11, present=8), size, 8).softmax(0)
    expected = DenseCRF(engine="pydensecrf")(camvid_image, p)
    q = DenseCRF(engine="native")(camvid_image, p)
    assert differing(q, expected) <= 1
    assert (q - expected).abs().max() < 1e-3


@pytest.mark.parametrize("setting", [(5, 12, 12, 3, 3), (4, (20, 8), 30, 0, 3), (0, 8, 8, 3, 2)])
def test_agreement_with_the_oracle_is_that_of_pydensecrf(small_image, setting):
    engine_or_skip("pydensecrf")
    size = tuple(small_image.shape[1:])
    logits = upsample(network_like_scores(size, 4, present=4), size, 8)
    oracle = DenseCRF(*setting, engine="exact")(small_image, logits=logits)
    theirs = DenseCRF(*setting, engine="pydensecrf")(small_image, logits=logits)
    for engine in ("native", "torch"):
        ours = DenseCRF(*setting, engine=engine_or_skip(engine))(small_image, logits=logits)
        assert differing(ours, oracle) <= differing(theirs, oracle) + small_image[0].numel() // 100_000
        assert (ours - oracle).abs().max() <= (theirs - oracle).abs().max() + 1e-3


def test_the_oracle_is_mean_field_written_out(small_image):
    image = small_image[:, 16:23, 20:29]
    logits = torch.randn(3, 7, 9, generator=torch.Generator().manual_seed(0)).double()
    y, x = (c.reshape(-1).double() for c in torch.meshgrid(torch.arange(7), torch.arange(9), indexing="ij"))
    colour = image.reshape(3, -1).double()
    near = ((y[:, None] - y) / 4) ** 2 + ((x[:, None] - x) / 5) ** 2
    alike = ((colour[:, :, None] - colour[:, None]) / 20).pow(2).sum(0)
    message = torch.zeros(63, 63, dtype=torch.float64)
    for weight, squares in ((4.0, near + alike), (2.0, ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2) / 9)):
        kernel = torch.exp(-squares / 2)
        norm = kernel.sum(1).rsqrt()
        message += weight * norm[:, None] * kernel * norm
    unary = logits.reshape(3, -1)
    q = unary.softmax(0)
    for _ in range(10):
        q = (unary + q @ message).softmax(0)
    found = DenseCRF(4, (4, 5), 20, 2, 3, engine="exact")(image, logits=logits)
    assert (found.reshape(3, -1) - q).abs().max() < 1e-6


@pytest.mark.parametrize("prune", [0.0, 0.01])
def test_a_batch_gives_the_same_as_its_images_one_by_one(small_image, prune):
    """A GPU computes images in batches; here the CPU does the same arithmetic."""
    size = tuple(small_image.shape[1:])
    images = torch.stack([small_image, small_image.flip(2), 255 - small_image])
    logits = torch.stack([upsample(network_like_scores(size, 9, seed=i, present=2 + i), size, 8) for i in range(3)])
    crf = DenseCRF(4, 20, 10, prune=prune, engine="torch")
    together = TorchEngine().refine_batch(images, logits, crf.parameters)
    for image, scores, q in zip(images, logits, together, strict=True):
        assert (q - crf(image, logits=scores)).abs().max() < 1e-5


def test_auto_logs_once_that_another_device_takes_the_torch_engine(caplog):
    engine_or_skip("native")
    caplog.set_level("INFO", logger="src.crf.dense_crf")
    crf = DenseCRF()
    elsewhere = torch.empty(2, 3, 4, device="meta")
    assert [crf.engine_for(scores).name for scores in (elsewhere, elsewhere, torch.empty(2, 3, 4))] == [
        "torch",
        "torch",
        "native",
    ]
    assert [m for m in caplog.messages if "torch" in m] == ["dense CRF engine: torch (auto: the scores are on meta)"]


@pytest.mark.parametrize("classes", [3, 5, 6, 11, 21])
def test_pruning_keeps_classes_that_are_as_likely_as_the_threshold(small_image, classes):
    """Here this is 1 / classes, which rounding may miss."""
    logits = torch.zeros(classes, *small_image.shape[1:])
    logits[0, :9] = 0.5
    exact = DenseCRF(4, 20, 10, engine="torch")(small_image, logits=logits)
    parameters = Parameters(4, 20, 10, prune=0.9)
    together = TorchEngine().refine_batch(small_image[None], logits[None], parameters)[0]
    assert (together - exact).abs().max() < 1e-5
    for engine in ("native", "torch"):
        q = DenseCRF(4, 20, 10, prune=0.9, engine=engine_or_skip(engine))(small_image, logits=logits)
        assert (q - exact).abs().max() < 1e-3


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_several_threads_on_one_image_give_the_same_labels(small_image, threads):
    engine_or_skip("native")
    size = tuple(small_image.shape[1:])
    logits = upsample(network_like_scores(size, 21), size, 8)
    crf = DenseCRF(4, 20, 10, engine="native")
    alone = crf(small_image, logits=logits, threads=1)
    assert (crf(small_image, logits=logits, threads=threads) - alone).abs().max() < 1e-4


def test_widths_too_fine_for_64_bit_keys(small_image):
    """With so small a colour width only equal colours interact, and lattice keys need more than 64 bits."""
    image = small_image // 120 * 120
    image[:, ::7, ::5] = small_image[:, ::7, ::5]
    size = tuple(image.shape[1:])
    logits = upsample(network_like_scores(size, 4, present=4), size, 8)
    oracle = DenseCRF(4, (0.05, 2000), 0.003, 3, 3, engine="exact")(image, logits=logits)
    for engine in ("torch", "native"):
        q = DenseCRF(4, (0.05, 2000), 0.003, 3, 3, engine=engine_or_skip(engine))(image, logits=logits)
        assert differing(q, oracle) <= 0.02 * image[0].numel()


@pytest.mark.parametrize("classes", [1, 2, 8, 9, 17, 25, 40])
def test_any_number_of_classes(small_image, classes):
    """Each of these numbers takes another path through the compiled kernels."""
    engine_or_skip("native")
    size = tuple(small_image.shape[1:])
    logits = upsample(network_like_scores(size, classes, present=classes), size, 8)
    for weights in ((4, 3), (30, 3)):
        q = DenseCRF(weights[0], 20, 10, weights[1], engine="native")(small_image, logits=logits)
        expected = DenseCRF(weights[0], 20, 10, weights[1], engine="torch")(small_image, logits=logits)
        assert (q - expected).abs().max() < 1e-3


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same(level):
    engine_or_skip("native")
    program = (
        "import torch; from src.crf import DenseCRF; from src.crf.engines.native_engine import level; print(level())\n"
        "g = torch.Generator().manual_seed(0)\n"
        "image = torch.randint(0, 255, (3, 37, 45), generator=g).to(torch.uint8)\n"
        "logits = torch.randn(11, 37, 45, generator=g) * 3\n"
        "a, b = (DenseCRF(4, 20, 40, engine=e)(image, logits=logits) for e in ('native', 'torch'))\n"
        "assert (a - b).abs().max() < 1e-4, (a - b).abs().max()\n"
        "scores = torch.randn(21, 6, 7, generator=g) * 5\n"
        "a, b = (DenseCRF(4, 20, 40, prune=0.01, engine=e).refine_labels(image, scores) for e in ('native', 'torch'))\n"
        "assert torch.equal(a, b), (a != b).sum()\n"
    )
    done = run_command("-c", program, environment={"CRF_NATIVE_LEVEL": level})
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() != level:
        pytest.skip(f"this processor stops at {done.stdout.strip()}")
