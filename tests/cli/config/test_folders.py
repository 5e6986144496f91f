"""Where a command cannot write: found before it begins, by whatever key says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.cli.compose import compose
from src.system.errors import UserError


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("train", "callbacks.pictures.folder"),
        ("train", "callbacks.best.dirpath"),
        ("train", "callbacks.resume.path"),
        ("train", "logger.csv.save_dir"),
        ("train", "trainer.default_root_dir"),
        ("evaluate", "callbacks.archive.folder"),
        ("predict", "output"),
        ("export", "output"),
        ("tune_crf", "cache"),
        ("report", "paths.output_dir"),
    ],
)
@pytest.mark.parametrize("fault", ["proc", "file", "long", "link"])
def test_what_cannot_be_written_is_refused_by_its_key(tmp_path: Path, command: str, key: str, fault: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    place = {"proc": Path("/proc/x"), "long": tmp_path / ("x" * 300)}.get(fault, tmp_path / fault)
    with pytest.raises(
        UserError, match=rf"^{key}={place}/sub/name: cannot create a folder in .*; choose another place"
    ):
        compose(command, f"{key}={place}/sub/name", output_dir=tmp_path / "run")


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^callbacks.resume.path={tmp_path}: is a folder, but must be a file"):
        compose("train", f"callbacks.resume.path={tmp_path}", output_dir=tmp_path / "run")


def test_the_folder_of_a_run_may_have_quotes_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / """ann's "first" run"""
    assert compose("describe", output_dir=folder).paths.output_dir == str(folder)


def test_nothing_is_left_where_it_was_tried(tmp_path: Path) -> None:
    compose("predict", f"output={tmp_path}/new/folder", output_dir=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
