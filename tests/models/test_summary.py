"""Receptive fields by hand and by gradient; FLOPs and sizes of layers."""

import pytest
import torch
from torch import nn

from src.models.summary import layers_of, measure_field
from tests.models.networks import network

# 5, 7, 15, 19, 43, 51, 99, 115, 211, 227 (pool5), 243 (pool5a); fc6 adds 8 rate (kernel - 1).
FIELDS = {
    "largefov": 243 + 192,
    "largefov_r4": 243 + 64,
    "vanilla": 227 + 96,
    "kernel4x4": 227 + 192,
    "kernel7x7": 227 + 192,
}


@pytest.mark.parametrize("head", FIELDS)
def test_theoretical_field_by_hand(head: str) -> None:
    layers = {layer.name: layer for layer in layers_of(network("meta", "backbone=vgg16", f"head={head}"), 321, 321)}
    assert layers["backbone.stages.0.3"].field == 7
    assert layers["backbone.stages.2.5"].field == 51
    assert layers["backbone.stages.4.5"].field == 227
    assert layers["scores"].field == FIELDS[head]
    assert layers["scores"].output == (21, 41, 41)


def test_flops_and_parameters_by_hand() -> None:
    layers = layers_of(network("meta", "backbone=vgg16", "head=largefov"), 321, 321)
    first, fc6 = layers[0], next(layer for layer in layers if layer.name == "head.fc6")
    assert (first.kind, first.flops, first.parameters) == ("3x3", 2 * 321 * 321 * 64 * 27, 64 * 27 + 64)
    assert (fc6.kind, fc6.flops) == ("3x3, rate 12", 2 * 41 * 41 * 1024 * 512 * 9)
    assert round(sum(layer.parameters for layer in layers) / 1e6, 2) == 20.51


def test_the_field_covers_shortcuts_and_branches() -> None:
    resnet = {layer.name: layer for layer in layers_of(network("meta", "backbone=resnet50", "head=largefov"), 65, 65)}
    assert resnet["backbone.conv1"].field == 7
    assert resnet["backbone.maxpool"].field == 11
    assert resnet["backbone.layer1.2.conv3"].field == 11 + 3 * 2 * 4
    msc = {layer.name: layer for layer in layers_of(network("meta", "backbone=vgg16", "head=msc").eval(), 65, 65)}
    assert msc["head.scales.0.conv1"].field == 3
    assert msc["head.scales.4.conv2"].field == 115 + 2 * 8
    assert msc["scores"].output == (21, 65, 65)
    assert msc["scores"].field == FIELDS["vanilla"] + 8  # one score further, where it is interpolated


@pytest.mark.parametrize("backbone", ["vgg11", "resnet50"])
def test_gradient_fills_the_theoretical_field(backbone: str) -> None:
    """With positive weights, and average pools in place of maximum pools, nothing cancels: both fields are equal."""
    torch.manual_seed(0)
    model = network("cpu", f"backbone={backbone}", "backbone.width=0.015625", "head=largefov_r4", classes=2).double()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, ceil_mode=True))
            elif isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    for p in model.parameters():
        nn.init.constant_(p, 1 / p[0].numel() if p.ndim > 1 else 0.0)
    nn.init.zeros_(model.backbone.mean)
    field = layers_of(model, 65, 65)[-1].field
    measured = measure_field(model, field)
    assert measured.extent == field
    assert 0 < measured.core <= field


def test_the_measured_field_lies_within_the_theoretical_one() -> None:
    torch.manual_seed(0)
    model = network("cpu", "backbone=vgg11", "backbone.width=0.0625", "head=largefov", classes=3)
    field = layers_of(model, 65, 65)[-1].field
    assert 0.8 * field < measure_field(model, field).extent <= field
