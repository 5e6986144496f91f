"""Table 2 of the paper: parameters, fields of view and sizes of every row, from the files in conf/."""

import functools

import pytest
import torch
from torch import nn

from src.models import MSc
from tests.models.networks import network as built

network = functools.cache(built)

MILLIONS = {"kernel7x7": 134.35, "vanilla": 65.14, "kernel4x4": 65.14, "largefov": 20.51}
FIELD_OF_VIEW = {"kernel7x7": 224, "vanilla": 128, "kernel4x4": 224, "largefov": 224, "largefov_r4": 96}


@pytest.mark.parametrize("head", MILLIONS)
def test_parameters(head: str) -> None:
    model = network("meta", "backbone=vgg16", f"head={head}")
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == MILLIONS[head]


@pytest.mark.parametrize("head", FIELD_OF_VIEW)
def test_nominal_field_of_view(head: str) -> None:
    assert network("meta", "backbone=vgg16", f"head={head}").head.field_of_view == FIELD_OF_VIEW[head]


@pytest.mark.parametrize("head", [*FIELD_OF_VIEW, "msc", "msc_largefov"])
@pytest.mark.parametrize(("side", "scores"), [(321, 41), (513, 65), (305, 39), (500, 64)])
def test_score_map(head: str, side: int, scores: int) -> None:
    model = network("meta", "backbone=vgg16", f"head={head}").train()
    assert model(torch.empty(1, 3, side, side, device="meta")).shape == (1, 21, scores, scores)


@pytest.mark.parametrize("head", ["msc", "msc_largefov"])
def test_msc_adds_640_channels_to_its_trunk(head: str) -> None:
    msc = network("meta", "backbone=vgg16", f"head={head}").head
    assert isinstance(msc, MSc)
    assert sum(branch.score.in_channels for branch in msc.branches) == 640
    assert [branch.conv1.in_channels for branch in msc.branches] == [3, 64, 128, 256, 512]


@pytest.mark.parametrize("head", [*FIELD_OF_VIEW, "tutorial"])
def test_msc_wraps_any_head(head: str) -> None:
    plain = network("meta", "backbone=vgg16", f"head={head}").head
    msc = network("meta", "backbone=vgg16", "head=msc", f"head@head.trunk={head}").head
    shapes = {name: p.shape for name, p in msc.trunk.named_parameters()}
    assert shapes == {name: p.shape for name, p in plain.named_parameters()}
    assert len(msc.branches) == 5


def test_tutorial_by_configuration_alone() -> None:
    """The network of the tutorial: 3x3 convolutions with BatchNorm and 2x2 pools, the fourth pool with stride 1, conv5
    with dilation 2; 512 channels with dilation 4, two 1x1 convolutions; bilinear x8; a 3x3 classifier on every pixel.
    """
    model = network("meta", "experiment=tutorial", "backbone.weights=none").train()
    sizes = [tuple(f.shape[1:]) for f in model.backbone(torch.empty(1, 3, 321, 321, device="meta"))]
    assert sizes == [(3, 321, 321), (64, 161, 161), (128, 81, 81), (256, 41, 41), (512, 41, 41), (512, 41, 41)]
    pools = [m.kernel_size for m in model.backbone.modules() if isinstance(m, nn.MaxPool2d)]
    assert pools == [2] * 5
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.kernel_size[0], c.dilation[0], c.out_channels) for c in convs[10:]] == [
        *[(3, 2, 512)] * 3, (3, 4, 512), (1, 1, 512), (1, 1, 512), (3, 1, 21),
    ]  # fmt: skip
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 13 + 3
    assert model(torch.empty(1, 3, 321, 321, device="meta")).shape == (1, 21, 321, 321)
