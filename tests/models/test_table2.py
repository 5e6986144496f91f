"""Table 2 of the paper: parameters, fields of view and sizes of every row, from the configurations as they are."""

import pytest
import torch

from src.models import MSc
from tests.models.networks import network

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


def test_msc_wraps_any_head() -> None:
    model = network("meta", "backbone=vgg16", "head=msc", "head@head.trunk=kernel4x4")
    assert model.head.trunk.fc6.dilation == (8, 8)
