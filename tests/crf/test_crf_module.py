"""The CRF as a layer: gradients, and its output before training."""

from __future__ import annotations

import torch

from src.crf import DenseCRF, DenseCRFModule
from src.crf.inputs import upsample
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
