"""The CRF as the last layer of a network: its geometry, and the same results in training and at test time."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from src.crf import DenseCRF
from src.data import Shapes
from src.models import CRFLayer
from src.models.geometry import upsample_scores
from src.models.weights.pretrained import load_trained
from tests.models.networks import composed, network

TINY = ("experiment=crf_rnn", "backbone.width=0.0625", "head.channels=64")


def picture(side: int) -> torch.Tensor:
    return torch.from_numpy(Shapes("train", {"train": 1}, size=side)[0].image.copy()).permute(2, 0, 1)[None]


def coarse_scores(classes: int = 3, side: int = 9) -> torch.Tensor:
    return 2 * torch.randn(1, classes, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_without_kernels_it_returns_the_scores_at_its_pixels(stride: int) -> None:
    """An image of 60 pixels is padded to 65; a score lies on every eighth pixel."""
    scores = coarse_scores()
    refined = CRFLayer(3, w1=0, w2=0, stride=stride)(picture(60), scores)
    assert refined.shape == (1, 3, 64 // stride + 1, 64 // stride + 1)
    torch.testing.assert_close(refined[..., :: 8 // stride, :: 8 // stride], scores)
    torch.testing.assert_close(upsample_scores(refined, (60, 60)), upsample_scores(scores, (60, 60)))


def test_on_all_pixels_it_is_the_crf_that_runs_at_test() -> None:
    image, scores = picture(65), coarse_scores()
    layer = CRFLayer(3, 4, (12, 15), 20, 2, 3, iterations=4, bias=[0.5, 0, -1], stride=1)
    crf = layer.update(DenseCRF(iterations=4))
    assert crf.parameters.sxy == (12, 15)
    expected = crf(image[0], logits=upsample_scores(scores, (65, 65))[0])
    torch.testing.assert_close(layer(image, scores).softmax(1)[0].detach(), expected, atol=2e-4, rtol=0)


def test_on_every_second_pixel_it_gives_nearly_the_same_labels() -> None:
    image, scores = picture(129), coarse_scores(side=17)
    layers = [CRFLayer(3, 4, 20, 15, 3, 3, stride=stride) for stride in (1, 2)]
    fine, coarse = (layer(image, scores).argmax(1) for layer in layers)
    unrefined = upsample_scores(scores, (129, 129)).argmax(1)[..., ::2, ::2]
    differs, changed = (labels != coarse for labels in (fine[..., ::2, ::2], unrefined))
    assert differs.float().mean() < changed.float().mean() / 4


def test_a_stride_that_does_not_divide_8_is_an_error() -> None:
    with pytest.raises(ValueError, match="stride=3: must be 1, 2, 4 or 8"):
        CRFLayer(3, stride=3)


def test_a_network_trains_through_it_and_gives_its_own_scores_at_test() -> None:
    torch.manual_seed(0)
    model = network("cpu", *TINY, classes=7)
    image, label = picture(65), torch.from_numpy(Shapes("train", {"train": 1}, size=65)[0].label.copy())[None]
    loss = instantiate(composed(*TINY).loss)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(4):
        value = loss(model(image), label)
        optimizer.zero_grad()
        value.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.crf.parameters())
        assert next(model.backbone.parameters()).grad.abs().sum() > 0
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    assert model(image).shape[-1] == 33  # every second pixel
    assert model.eval()(image).shape[-1] == 9
    crf = model.with_learned(DenseCRF(1, 1, 1, 1, 1))
    assert crf.parameters.w1 == pytest.approx(model.crf.mean_field.kernel_weights[0].item())
    assert crf.parameters.sxy == (50, 50)


def test_a_trained_network_gets_a_crf(tmp_path: Path) -> None:
    without = network("cpu", *TINY[1:], classes=7)
    state = {f"model.{name}": value for name, value in without.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "first.ckpt")
    model = network("cpu", *TINY, classes=7)
    assert load_trained(model, str(tmp_path / "first.ckpt")) == f"network from {tmp_path / 'first.ckpt'}"
    image = picture(65)
    assert torch.equal(model.eval()(image), without.eval()(image))
    torch.testing.assert_close(model.crf.mean_field.kernel_weights.detach(), torch.tensor([5.0, 3.0]))
