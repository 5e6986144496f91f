"""Presets that commands write are found as crf=NAME, and take the place of no others."""

from pathlib import Path

import pytest
from hydra.utils import instantiate

from src.cli.compose import compose
from src.cli.crf_presets import SAVED, TUNED, preset_path, preset_text
from src.system.errors import UserError
from src.system.files import write_text

VALUES = {
    "w1": 4.5, "sxy": 33, "srgb": 7, "w2": 2, "sg": 3, "iterations": 5, "prune": 0.01, "engine": "auto",
    "bias": [0.5, -0.5], "compatibility": [[0, 1], [1, 0]],
}  # fmt: skip


@pytest.mark.parametrize("name", ["mine", "v1.2", "01", "A_b-c", "_x", "none_"])
def test_a_preset_composes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "conf" / "crf"
    write_text(preset_path(name, folder), preset_text(SAVED, VALUES))
    assert [path.name for path in folder.iterdir()] == [f"{name}.yaml"]
    monkeypatch.setattr("src.cli.conf_folder.USER_CONF", tmp_path / "conf")
    parameters = instantiate(compose("predict", f"crf={name}", output_dir=tmp_path / "run").crf).parameters
    assert (parameters.w1, parameters.sx, parameters.iterations) == (4.5, 33, 5)
    assert parameters.bias == (0.5, -0.5)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "/etc/x", "a b", "a\n", "null", "True", "nan", "inf", "2024", "1e3",
     "a.yaml", "a.YML", "-a", ".a", "ü", "a:b", "a=b", "${x}", "a\0b", "x" * 101],
)  # fmt: skip
def test_a_name_that_crf_could_not_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give letters, digits, _ and - for crf=NAME"):
        preset_path(name, tmp_path / "crf")
    assert not (tmp_path / "crf").exists()


@pytest.mark.parametrize("header", [TUNED, SAVED])
def test_only_presets_of_commands_are_replaced(header: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"{header}, before\n")
    assert preset_path("mine", tmp_path) == tmp_path / "mine.yaml"
    (tmp_path / "other.yaml").write_bytes(b"\xff\xfe by hand\n")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("other", "folder"):
        with pytest.raises(
            UserError, match=rf"{name}\.yaml was not written by a command, so it is not overwritten; choose"
        ):
            preset_path(name, tmp_path)
