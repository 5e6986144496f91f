"""MSc: every branch is aligned with the trunk's scores, and the sum of scores is one classifier on all features."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.models import DeepLab, MSc
from src.models.geometry import padded_side, score_stride
from tests.models.networks import network

SIZES = [(65, 65), (64, 57), (41, 90), (9, 1), (1, 1)]


@pytest.fixture(params=["msc", "msc_largefov"])
def model(request: pytest.FixtureRequest) -> DeepLab:
    """Return a slim network in float64 whose branches have weights large enough to matter in the sum."""
    torch.manual_seed(0)
    model = network("cpu", "backbone=vgg11", "backbone.width=0.0625", f"head={request.param}", classes=4).double()
    for branch in model.head.branches:
        for p in branch.parameters():
            nn.init.normal_(p, std=0.1)
    return model.eval()


def random_image(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_each_branch_meets_the_trunk_on_the_grid(model: DeepLab, size: tuple[int, int]) -> None:
    """The scores in training equal every eighth score at test time, for the sum and for each branch."""
    assert isinstance(model.head, MSc)
    features = model.backbone(random_image(*size))
    full = model.head(features)
    assert full.shape[-2:] == (padded_side(size[0]), padded_side(size[1]))
    model.head.full_resolution = False
    coarse = model.head(features)
    torch.testing.assert_close(full[..., ::8, ::8], coarse)
    for branch, finer, stride in zip(model.head.branches, features, (8, 4, 2, 1, 1), strict=False):
        torch.testing.assert_close(branch(finer, stride=1)[..., ::stride, ::stride], branch(finer, stride=stride))


def test_on_a_head_that_scores_every_pixel() -> None:
    """Training is as at test time: branches have stride 1 and are up-sampled to the image's size, as the trunk is."""
    torch.manual_seed(0)
    overrides = ("backbone=vgg11", "backbone.width=0.0625", "head=msc", "head@head.trunk=tutorial", "head.dropout=0")
    model = network("cpu", *overrides, "model.frozen_norm=true", classes=4).double()
    image = random_image(30, 41)
    scores = model.train()(image)
    assert scores.shape == (1, 4, 33, 41)
    features = model.backbone(image)
    parts = [branch(finer, stride=1) for branch, finer in zip(model.head.branches, features, strict=False)]
    grown = [F.interpolate(p, size=(33, 41), mode="bilinear", align_corners=True) for p in parts]
    torch.testing.assert_close(scores, model.head.trunk(features) + sum(grown))
    torch.testing.assert_close(model.eval()(image), scores)


def test_training_scores_have_an_eighth_of_the_size(model: DeepLab) -> None:
    assert model.train()(random_image(65, 65)).shape == (1, 4, 9, 9)


def test_a_branch_sees_the_pixels_around_its_score(model: DeepLab) -> None:
    """A single bright pixel changes the scores of the image branch within its 3x3 window and nowhere else."""
    image = torch.zeros(1, 3, 65, 65, dtype=torch.float64)
    branch = model.head.branches[0]
    dark = branch(image, stride=8)
    image[..., 16, 40] = 100
    changed = (branch(image, stride=8) != dark).any(dim=1)[0].nonzero().tolist()
    assert changed == [[2, 5]]


def test_sum_of_scores_is_the_classifier_on_the_concatenation(model: DeepLab) -> None:
    """One 1x1 convolution over the channels of the trunk and the branches, with the sum of all biases."""
    head = model.head.train()
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    classifiers = [head.classifier, *(branch.score for branch in head.branches)]
    inputs: list[Tensor] = []
    hooks = [c.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for c in classifiers]
    scores = model(random_image(65, 49))
    for hook in hooks:
        hook.remove()
    weight = torch.cat([c.weight for c in classifiers], dim=1)
    bias = torch.stack([c.bias for c in classifiers]).sum(dim=0)
    assert weight.shape[1] == head.trunk.fc7.out_channels + 5 * 8
    torch.testing.assert_close(scores, F.conv2d(torch.cat(inputs, dim=1), weight, bias))


def test_at_test_every_branch_is_upsampled_by_its_stride(model: DeepLab) -> None:
    """By definition: x1, x2, x4, x8, x8 with aligned corners, then the sum with the trunk's scores."""
    head = model.head
    features = model.backbone(random_image(33, 41))
    parts = [branch(finer, stride=1) for branch, finer in zip(head.branches, features, strict=False)]
    parts.append(head.trunk(features))
    factors = [1, 2, 4, 8, 8, 8]
    assert [(p.shape[-2] - 1) * f + 1 for p, f in zip(parts, factors, strict=True)] == [33] * 6
    expected = sum(F.interpolate(p, size=(33, 41), mode="bilinear", align_corners=True) for p in parts)
    torch.testing.assert_close(head(features), expected)


def test_at_full_resolution_the_grid_is_known_from_the_sizes() -> None:
    assert score_stride((65, 49), (58, 42)) == 1
    assert score_stride((9, 7), (58, 42)) == 8
    assert score_stride((1, 2), (1, 9)) == 8
    with pytest.raises(ValueError, match="scores of 9x8 do not fit an image of 58x42"):
        score_stride((9, 8), (58, 42))


def test_initial_weights_have_the_released_deviations() -> None:
    branches = network("cpu", "backbone=vgg11", "backbone.width=0.5", "head=msc").head.branches
    for branch, std in zip(branches, (0.001, 0.001, 0.001, 0.001, 0.005), strict=True):
        for layer, expected in ((branch.conv1, std), (branch.conv2, std), (branch.score, 0.01)):
            assert float(layer.weight.std()) == pytest.approx(expected, rel=0.15)
            assert not layer.bias.any()


def test_predict_gives_probabilities_of_every_pixel(model: DeepLab) -> None:
    probabilities = model.predict(random_image(30, 47))
    assert probabilities.shape == (1, 4, 30, 47)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(1, 30, 47))


def test_number_of_branches_must_fit_the_backbone() -> None:
    with pytest.raises(Exception, match=r"std=\[0\.1, 0\.1, 0\.1, 0\.1\]: must have 5 numbers"):
        network("cpu", "backbone=slim", "head=msc", "head.std=[0.1,0.1,0.1,0.1]")
