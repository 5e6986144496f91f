"""Bias and compatibility by class: every engine against pydensecrf, the exact engine, and mean field written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.crf.engines.torch_engine import TorchEngine
from src.crf.inputs import upsample
from tests.crf.samples import engine_or_skip, network_like_scores, symmetric


def options(classes: int) -> dict[str, list]:
    """Return random values by class."""
    bias = 2 * torch.randn(classes, generator=torch.Generator().manual_seed(classes))
    return {"bias": bias.tolist(), "compatibility": symmetric(classes, seed=classes).tolist()}


def logits_of(image: Tensor, classes: int, present: int | None = None) -> Tensor:
    size = tuple(image.shape[1:])
    return upsample(network_like_scores(size, classes, seed=2, present=present or classes), size, 8)


def differing(q: Tensor, reference: Tensor) -> int:
    return int((q.argmax(0) != reference.argmax(0)).sum())


@pytest.mark.parametrize("classes", [2, 8, 11, 21, 40])  # each takes another path through the compiled kernels
@pytest.mark.parametrize("w1", [2.0, 30.0])  # below and above the limit without subtracting a maximum
def test_native_and_torch_give_what_pydensecrf_gives(small_image: Tensor, classes: int, w1: float) -> None:
    engine_or_skip("pydensecrf"), engine_or_skip("native")
    logits, by_class = logits_of(small_image, classes), options(classes)
    expected = DenseCRF(w1, 20, 10, engine="pydensecrf", **by_class)(small_image, logits=logits)
    plain = DenseCRF(w1, 20, 10, engine="pydensecrf")(small_image, logits=logits)
    assert differing(plain, expected) > small_image[0].numel() // 50
    for engine in ("native", "torch"):
        q = DenseCRF(w1, 20, 10, engine=engine, **by_class)(small_image, logits=logits)
        assert differing(q, expected) == 0
        assert (q - expected).abs().max() < 1e-3


def test_exact_engine_is_mean_field_written_out(small_image: Tensor) -> None:
    image = small_image[:, 16:23, 20:29]
    logits = torch.randn(3, 7, 9, generator=torch.Generator().manual_seed(0)).double()
    bias, costs = [0.5, -1.0, 0.2], [[0.1, 1.0, 0.4], [1.0, -0.2, 2.0], [0.4, 2.0, 0.0]]
    y, x = (c.reshape(-1).double() for c in torch.meshgrid(torch.arange(7), torch.arange(9), indexing="ij"))
    colour = image.reshape(3, -1).double()
    apart = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    unlike = (colour[:, :, None] - colour[:, None]).pow(2).sum(0)
    energy = [-(logits.reshape(3, -1)[label] + bias[label]) for label in range(3)]
    q = torch.stack(energy).neg().softmax(0)
    for _ in range(4):
        sums = torch.zeros(3, 63, dtype=torch.float64)
        for weight, squares in ((4.0, apart / 25 + unlike / 400), (2.0, apart / 9)):
            kernel = torch.exp(-squares / 2)
            scale = kernel.sum(1).rsqrt()
            sums += weight * (q * scale) @ kernel * scale
        paid = [energy[i] + sum(costs[i][j] * sums[j] for j in range(3)) for i in range(3)]
        q = torch.stack(paid).neg().softmax(0)
    crf = DenseCRF(4, 5, 20, 2, 3, iterations=4, engine="exact", bias=bias, compatibility=costs)
    assert (crf(image, logits=logits).reshape(3, -1) - q).abs().max() < 1e-6


@pytest.mark.parametrize("prune", [0.0, 0.01])
@pytest.mark.parametrize("threads", [1, 3])
def test_labels_from_a_score_map(small_image: Tensor, prune: float, threads: int) -> None:
    """Threads share vertices of the lattice at the borders of their bands."""
    image = small_image.repeat_interleave(4, 1).repeat_interleave(4, 2)
    size = tuple(image.shape[1:])
    score_map = 2 * network_like_scores(size, 11, seed=1, present=8)
    by_class = options(11)
    expected = DenseCRF(3, 30, 15, engine="torch", **by_class)(image, logits=upsample(score_map, size, 8)).argmax(0)
    crf = DenseCRF(3, 30, 15, prune=prune, engine=engine_or_skip("native"), **by_class)
    labels = crf.refine_labels(image, score_map, threads=threads)
    assert int((labels != expected).sum()) <= image[0].numel() // 10_000


def improbable_but_cheap() -> tuple[Tensor, Tensor, dict]:
    """Return image, logits and CRF where class 2 is below 1 % everywhere, and wins because the others disagree.

    Classes 0 and 1 are certain in turns and exclude each other; class 2 costs next to nothing beside both, and
    less than that beside itself.
    """
    image = torch.full((3, 24, 24), 90, dtype=torch.uint8)
    logits = torch.zeros(4, 24, 24)
    logits[0, ::2] = logits[1, 1::2] = 12.0
    logits[2], logits[3] = 7.0, -20.0
    costs = torch.tensor([[0.0, 3, 0.1, 3], [3, 0, 0.1, 3], [0.1, 0.1, -1, 3], [3, 3, 3, 0]])
    return image, logits, {"compatibility": costs.tolist()}


@pytest.mark.parametrize("engine", ["native", "torch", "exact"])
def test_a_class_that_others_support_is_not_pruned(engine: str) -> None:
    image, logits, by_class = improbable_but_cheap()
    assert logits.softmax(0)[2].max() < 0.01
    exact = DenseCRF(4, 8, 10, engine="exact", **by_class)(image, logits=logits)
    assert (exact.argmax(0) == 2).float().mean() > 0.5
    pruned = DenseCRF(4, 8, 10, prune=0.01, engine=engine_or_skip(engine), **by_class)(image, logits=logits)
    assert torch.equal(pruned.argmax(0), exact.argmax(0))


def test_a_batch_gives_the_same_as_its_images_one_by_one(small_image: Tensor) -> None:
    """A GPU computes images in batches, with padded classes; here the CPU does the same arithmetic."""
    images = torch.stack([small_image, small_image.flip(2)])
    logits = torch.stack([logits_of(small_image, 9, present=present) for present in (4, 9)])
    for prune in (0.0, 0.01):
        crf = DenseCRF(4, 20, 10, prune=prune, engine="torch", compatibility=symmetric(9).tolist())
        together = TorchEngine().refine_batch(images, logits, crf.parameters)
        for image, scores, q in zip(images, logits, together, strict=True):
            assert (q - crf(image, logits=scores)).abs().max() < 1e-4


def test_a_bias_weighs_the_probability_of_a_class(small_image: Tensor) -> None:
    """Without iterations Q is softmax(logits + bias), and a bias of log 3 makes a class three times as probable."""
    p = logits_of(small_image, 3).softmax(0)
    q = DenseCRF(iterations=0, bias=[0, torch.tensor(3.0).log().item(), 0])(small_image, p)
    expected = p * torch.tensor([1.0, 3.0, 1.0])[:, None, None]
    assert (q - expected / expected.sum(0)).abs().max() < 1e-5


def test_a_pool_of_processes_takes_them_along(small_image: Tensor) -> None:
    engine_or_skip("pydensecrf")
    crf = DenseCRF(3, 20, 10, engine="pydensecrf", **options(4))
    logits = logits_of(small_image, 4)
    with RefinementPool(crf, workers=1) as pool:
        found = pool.submit(small_image, logits=logits).result()
    assert (torch.as_tensor(found) - crf(small_image, logits=logits)).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bias": 1}, "give a list"),
        ({"bias": []}, "give a list"),
        ({"bias": [0, float("nan")]}, "give numbers"),
        ({"bias": [0, "1"]}, "give numbers"),
        ({"compatibility": [1, 2]}, "give a list"),
        ({"compatibility": [[0, 1], [1]]}, "as many entries in each row as it has rows .2."),
        ({"compatibility": [[0, 1], [2, 0]]}, "must be symmetric"),
        ({"compatibility": [[0, float("inf")], [float("inf"), 0]]}, "give numbers"),
        ({"bias": [0, 0, 0], "compatibility": [[0, 1], [1, 0]]}, "different numbers of classes, 3 and 2"),
    ],
)
def test_values_that_are_none(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DenseCRF(**given)


@pytest.mark.parametrize("given", [{"bias": [0, 0]}, {"compatibility": [[0, 1], [1, 0]]}])
def test_another_number_of_classes_is_refused(small_image: Tensor, given: dict) -> None:
    crf = DenseCRF(**given)
    with pytest.raises(ValueError, match="is for 2 classes, the scores have 3"):
        crf(small_image, logits=logits_of(small_image, 3))
    with pytest.raises(ValueError, match="is for 2 classes, the scores have 3"):
        crf.refine_labels(small_image, network_like_scores((40, 52), 3))
