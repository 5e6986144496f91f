"""The CRF as a layer: gradients, and its output before training."""

from __future__ import annotations

import torch

from src.crf import DenseCRF, DenseCRFModule, Parameters
from src.crf.engines.exact_engine import exact_filter
from src.crf.inputs import upsample
from src.crf.mean_field import mean_field
from tests.crf.samples import network_like_scores, symmetric


def tiny() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    image = torch.randint(0, 255, (1, 3, 3, 4), generator=random).to(torch.uint8)
    return image, torch.randn(1, 3, 3, 4, generator=random, dtype=torch.float64)


def test_gradients_of_logits_weights_bias_and_compatibility():
    image, logits = tiny()
    module = DenseCRFModule(3, 1.5, 3, 60, 0.8, 2, iterations=2).double()

    def run(logits, kernel_weights, bias, compatibility):
        values = {"kernel_weights": kernel_weights, "bias": bias, "compatibility": compatibility}
        return torch.func.functional_call(module, values, (image, logits))

    inputs = (
        logits.requires_grad_(),
        torch.tensor([1.5, 0.8], dtype=torch.float64, requires_grad=True),
        torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64, requires_grad=True),
        torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_(),
    )
    assert torch.autograd.gradcheck(run, inputs)


def test_the_initial_module_equals_the_crf(small_image):
    size = tuple(small_image.shape[1:])
    logits = upsample(network_like_scores(size, 4, present=4), size, 8)
    by_class = {"bias": [0.5, -1, 0, 2], "compatibility": symmetric(4).tolist()}
    for values in ({}, by_class):
        expected = DenseCRF(4, 20, 10, engine="torch", **values)(small_image, logits=logits)
        found = DenseCRFModule(4, 4, 20, 10, **values)(small_image[None], logits[None])[0]
        assert (found - expected).abs().max() < 1e-4


def test_training_lowers_the_loss(small_image):
    size = tuple(small_image.shape[1:])
    logits = upsample(network_like_scores(size, 3, present=3), size, 8)[None]
    target = (small_image[:1] > 100).long()
    module = DenseCRFModule(3, 2, 10, 20, 1, iterations=3)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.3)
    losses = []
    for _ in range(3):
        loss = torch.nn.functional.nll_loss(module(small_image[None], logits).clamp_min(1e-6).log(), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_bf16_in_bf16_out():
    image, logits = tiny()
    module = DenseCRFModule(3, 1.5, 3, 60)
    found = module(image, logits.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found.float() - module(image, logits.bfloat16().float())).abs().max() < 1e-2


def test_gradients_are_those_of_the_exact_kernels(small_image):
    """The lattice approximates the kernels; the loss of the exact ones, in float64, falls in the same direction."""
    image, p = small_image[:, :20, :24], {"w1": 3.0, "sxy": 8.0, "srgb": 30.0, "w2": 1.0, "sg": 2.0}
    random = torch.Generator().manual_seed(0)
    start = torch.randn(480, 3, generator=random, dtype=torch.float64)
    label = torch.randint(0, 3, (480,), generator=random)
    bias, costs = torch.tensor([0.3, 0.0, -0.2], dtype=torch.float64), symmetric(3).double()

    def exact_loss(unary, bias, costs, **changed):
        smooth = exact_filter(image, Parameters(**{**p, **changed}))
        return torch.nn.functional.cross_entropy(mean_field(unary + bias, smooth, 3, affinity=-costs).log(), label)

    values = [value.clone().requires_grad_() for value in (start, bias, costs)]
    exact = list(torch.autograd.grad(exact_loss(*values), values))
    step = 1e-4
    with torch.no_grad():
        slopes = [
            (
                exact_loss(start, bias, costs, **{name: p[name] + step})
                - exact_loss(start, bias, costs, **{name: p[name] - step})
            )
            / (2 * step)
            for name in ("w1", "w2")
        ]
    module = DenseCRFModule(3, **p, iterations=3, bias=bias.tolist(), compatibility=costs.tolist()).double()
    logits = start.T.reshape(1, 3, 20, 24).requires_grad_()
    torch.nn.functional.cross_entropy(module.scores(image[None], logits), label.view(1, 20, 24)).backward()
    found = [logits.grad[0].reshape(3, -1).T, module.bias.grad, module.compatibility.grad, module.kernel_weights.grad]
    exact[2] = (exact[2] + exact[2].T) / 2
    for ours, theirs in zip(found, [*exact, torch.stack(slopes)], strict=True):
        assert torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.99
        assert 0.8 < ours.norm() / theirs.norm() < 1.25


def test_what_it_has_learned_is_a_crf_for_every_engine(small_image):
    """An asymmetric matrix counts as its symmetric part, a negative kernel weight as 0."""
    size = tuple(small_image.shape[1:])
    logits = upsample(network_like_scores(size, 3, present=3), size, 8)
    module = DenseCRFModule(3, 2, 10, 20, 1, iterations=4)
    with torch.no_grad():
        module.kernel_weights[1] = -0.5
        module.bias.copy_(torch.tensor([0.5, 0.0, -1.0]))
        module.compatibility.copy_(torch.tensor([[0.0, 2.0, 1.0], [0.5, 0.0, 0.2], [1.0, 0.2, -0.3]]))
    learned = module.learned()
    assert (learned["w2"], learned["compatibility"][0][1]) == (0, 1.25)
    crf = DenseCRF(5, 10, 20, 3, 3, iterations=4, engine="torch").with_parameters(**learned)
    expected = module(small_image[None], logits[None])[0].detach()
    assert (crf(small_image, logits=logits) - expected).abs().max() < 1e-4


def test_scores_have_gradients_where_q_is_rounded_to_0(small_image):
    module = DenseCRFModule(2, 1, 10, 20, 1, iterations=2)
    logits = torch.zeros(1, 2, *small_image.shape[1:])
    logits[:, 1] = 200.0
    logits.requires_grad_()
    scores = module.scores(small_image[None], logits)
    assert (scores.softmax(1)[:, 0] == 0).all()
    torch.nn.functional.cross_entropy(scores, torch.zeros_like(scores[:, 0], dtype=torch.long)).backward()
    assert logits.grad[:, 0].max() < 0


def test_float32_within_autocast(small_image):
    module = DenseCRFModule(3, 2, 10, 20, 1, iterations=2)
    logits = torch.randn(1, 3, *small_image.shape[1:], generator=torch.Generator().manual_seed(0))
    expected = module.scores(small_image[None], logits)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.scores(small_image[None], logits), expected)
