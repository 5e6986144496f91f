"""Class names in any script are drawn, or the missing letter is reported."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager, get_data_path

from src.drawing import fonts
from src.drawing.pictures import comparison_sheet
from src.drawing.plots import plot_confusion

PICTURE = np.full((8, 300, 3), 200, np.uint8)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up a machine without fonts of its own, and clear all caches."""
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_: [])
    monkeypatch.setattr(fonts, "warned", set())
    for function in (fonts.load_font, fonts.find_font_file):
        function.cache_clear()


def legend(*names: str) -> np.ndarray:
    palette = np.zeros((len(names), 3), np.uint8)
    return np.asarray(comparison_sheet([("id", {"image": PICTURE})], names, palette))[-28:]


def test_names_in_other_scripts_are_drawn(caplog: pytest.LogCaptureFixture) -> None:
    assert not np.array_equal(legend("фон"), legend("дом"))  # two rows of boxes would be equal
    assert not np.array_equal(legend("ζώο"), legend("φως"))
    assert not caplog.records


def test_a_letter_without_a_font_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    legend("猫", "背景")
    legend("猫 2")
    assert [record.getMessage() for record in caplog.records] == [
        "no installed font has 猫 (CJK), which is drawn as a box: install one, such as Noto"
    ]


def test_an_installed_font_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DejaVu Sans lacks the letter, and another font of Matplotlib has it."""
    other = Path(get_data_path(), "fonts", "ttf", "STIXGeneral.ttf")
    sans = Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    letter = chr(min(fonts.read_font(other)[1] - fonts.read_font(sans)[1]))
    (tmp_path / "torn.ttf").write_text("no font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_: [str(tmp_path / "torn.ttf"), str(other)])
    assert fonts.find_font_file(f"a{letter}") == other


def test_plots_draw_any_class_name() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns of letters that it lacks
        plot_confusion(np.eye(3, dtype=int), ["фон", "$x_{$ and $", "a"]).canvas.draw()
