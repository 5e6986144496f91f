"""The describe command prints the numbers of Table 2."""

import re

import pytest

from src.models.summary import layers_of
from src.preparation.describe import describe
from tests.conftest import REPO
from tests.models.networks import CONF, composed, network

ROW = re.compile(r"^\| `(\w+)` \|.*\| ([\d.]+) M \| ([\d.]+) \| (\d+|-) \| (\d+) \|.*\|$", re.MULTILINE)
PAGE = (REPO / "docs" / "heads_and_backbones.md").read_text()
TABLE = {head: figures for head, *figures in ROW.findall(PAGE)}


def test_docs_have_every_head() -> None:
    assert set(TABLE) == {path.stem for path in (CONF / "head").glob("*.yaml")}


@pytest.mark.parametrize("head", TABLE)
def test_docs_say_what_describe_prints(head: str, capsys: pytest.CaptureFixture[str]) -> None:
    describe(composed("measure=false", f"head={head}", name="describe"))
    text = " ".join(capsys.readouterr().out.split())
    parameters, flops, nominal, field = TABLE[head]
    for part in (f"parameters {parameters} M", f"FLOPs {flops} G", f"receptive field {field} pixels"):
        assert part in text
    assert nominal == "-" or f"as the paper counts it {nominal} pixels" in text


def test_flops_by_hand() -> None:
    """2 x rows x columns x weights for each convolution, with Table 2's widths on VGG-16."""
    vgg = [(321, 3, 64), (321, 64, 64), (161, 64, 128), (161, 128, 128), (81, 128, 256), (81, 256, 256), (81, 256, 256)]
    vgg += [(41, 256, 512)] + [(41, 512, 512)] * 5
    trunk = sum(side**2 * 9 * before * after for side, before, after in vgg)
    for head, taps, width in (("vanilla", 16, 4096), ("kernel7x7", 49, 4096), ("largefov", 9, 1024)):
        fc = 41**2 * (taps * 512 * width + width * width + width * 21)
        layers = layers_of(network("meta", "backbone=vgg16", f"head={head}"), 321, 321)
        assert sum(layer.flops for layer in layers) == 2 * (trunk + fc)


def test_table_of_largefov(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    describe(composed("measure=false", name="describe"))
    text = capsys.readouterr().out
    for part in ("VGG and FCHead, 321x321 pixels", "3x3, rate 12", "1024 x 41x41", "4,719,616", "20.51 M",
                 "101.9 G", "435 pixels", "224 pixels: 8 rate (kernel - 1) + 32"):  # fmt: skip
        assert part in text


def test_measures_by_gradient(capsys: pytest.CaptureFixture[str]) -> None:
    describe(composed("backbone=vgg11", "backbone.width=0.0625", "head=msc", "size=65", name="describe"))
    text = capsys.readouterr().out
    assert "measured by gradient" in text
    assert "65x65" in text
