"""Backbones of timm: which models are accepted, their normalisation and their weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from src.models import Timm
from src.models.weights.pretrained import load_pretrained
from src.system.errors import UserError
from tests.models.networks import network
from tests.torchvision import import_timm


@pytest.fixture(autouse=True)
def _timm() -> None:
    import_timm()


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "efficientnet_b0", "regnety_002"])
def test_these_models_keep_the_grid(name: str) -> None:
    with torch.device("meta"):
        backbone = Timm(name)
    features = backbone(torch.empty(1, 3, 321, 321, device="meta"))
    assert [tuple(f.shape[1:]) for f in features] == [
        (channels, 320 // stride + 1, 320 // stride + 1)
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    assert backbone.strides[-1] == 8


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100"])
def test_scores_are_aligned_with_pixels(name: str) -> None:
    """Turning an image and the weights by 180 degrees turns the maps; the ends of maps and image coincide."""
    torch.manual_seed(0)
    backbone = Timm(name).double().eval()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data += module.weight.data.flip(2, 3)
    image = 255 * torch.rand(1, 3, 65, 81, dtype=torch.float64)
    for straight, turned in zip(backbone(image), backbone(image.flip(2, 3)), strict=True):
        torch.testing.assert_close(turned.flip(2, 3), straight)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("convnext_atto", r"its last map is \(320, 8, 8\) for 65 pixels, not 9 a side"),
        ("vit_tiny_patch16_224", "timm cannot give its features at stride 8"),
        ("vgg16", r"timm cannot give its features at stride 8 \(its stride cannot be chosen\)"),
        ("resnett18", r"timm has no such model\. Did you mean resnet18\?"),
    ],
)
def test_unsuitable_models_are_refused(name: str, reason: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=f"^name={name}: {reason}"):
        Timm(name)


def test_normalisation_follows_the_card() -> None:
    """RGB in 0..255; Google's networks expect images in -1..1."""
    imagenet, google = Timm("mobilenetv2_100.ra_in1k"), Timm("tf_mobilenetv3_small_minimal_100")
    torch.testing.assert_close(imagenet.mean.flatten(), torch.tensor([123.675, 116.28, 103.53]))
    torch.testing.assert_close(imagenet.std.flatten(), torch.tensor([58.395, 57.12, 57.375]))
    assert google.mean.flatten().tolist() == google.std.flatten().tolist() == [127.5] * 3
    own = Timm("mobilenetv2_100", mean=[1, 2, 3], std=[4, 5, 6], bgr=True)
    assert own.mean.flatten().tolist() == [3, 2, 1]


def offline(*_: Any, **__: Any) -> None:
    raise OSError("no route to host\nand much more")


def test_unavailable_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        model = network("meta", "backbone=timm", "backbone.weights=imagenet")
    monkeypatch.setattr("timm.models._builder._resolve_pretrained_source", offline)
    with pytest.raises(UserError, match=r"get resnet18 \(no route to host\); go online once, or set weights=none"):
        load_pretrained(model)
    with pytest.raises(UserError, match=r"^weights=file\.pth: must be none or imagenet"):
        Timm("resnet18", weights="file.pth")


def test_weights_are_those_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("resnet18")
    for p in theirs.parameters():
        nn.init.normal_(p)
    monkeypatch.setattr(
        "timm.models._builder._resolve_pretrained_source", lambda _: ("state_dict", theirs.state_dict())
    )
    model = network("cpu", "backbone=timm", "backbone.weights=imagenet")
    assert load_pretrained(model) == "backbone from timm's resnet18"
    assert torch.equal(model.backbone.net.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)
    assert torch.equal(model.backbone.net.conv1.weight, theirs.conv1.weight)


@pytest.mark.parametrize("name", ["resnet50", pytest.param("resnet101", marks=pytest.mark.slow)])
def test_resnet_equals_timms_resnet(name: str, tmp_path: Path) -> None:
    """timm's ResNets use torchvision's names: both give the same maps with the same weights."""
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model(name, features_only=True, output_stride=8).eval()
    for norm in (m for m in theirs.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.0)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
        nn.init.normal_(norm.running_mean, std=0.1)
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    ours = network("cpu", f"backbone={name}", f"backbone.weights={tmp_path}/resnet.pth", "head.channels=8")
    assert load_pretrained(ours) == f"backbone from {tmp_path}/resnet.pth"
    image, *maps = ours.eval().backbone(torch.randint(0, 256, (1, 3, 65, 41), dtype=torch.uint8))
    for mine, expected in zip(maps, theirs(image), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4 * float(expected.detach().abs().max()))
