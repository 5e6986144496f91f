"""The describe command prints what Table 2 says."""

import pytest

from src.describe import describe
from tests.models.networks import composed


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
