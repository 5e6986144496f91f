"""A command that is rejected before it has begun leaves no folder, and removes nothing that it did not create."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run_command


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "overrides", [["seed=x"], ["data.batch_size=0"], ["dataset=camvid"], ["ckpt=last"], ["-m", "seed=1,x"]]
)
def test_a_rejected_command_leaves_nothing(overrides: list[str], tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    done = run_command("train", *overrides, folder=tmp_path, environment={"DEEPLAB_DATA": "data"})
    assert done.returncode == 2, done.stderr
    assert everything(tmp_path) == {"kept"}


def test_folders_that_were_there_stay(tmp_path: Path) -> None:
    other = tmp_path / "logs" / "train"
    other.mkdir(parents=True)
    (other / "notes.txt").write_text("mine")
    (tmp_path / "run").mkdir()
    run_command("train", "seed=x", folder=tmp_path)
    assert everything(tmp_path) == {"logs", "logs/train", "logs/train/notes.txt", "run"}
    run_command("train", "seed=x", "hydra.run.dir=run", folder=tmp_path)
    assert (tmp_path / "run").is_dir()


def test_a_run_that_has_logged_something_stays(tmp_path: Path) -> None:
    """The line about the checkpoint tells which one was found."""
    checkpoint = tmp_path / "logs" / "train" / "runs" / "old" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"damaged")
    done = run_command("train", "ckpt=last", folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "ckpt=last is" in next(tmp_path.rglob("train.log")).read_text()


@pytest.mark.parametrize(
    "overrides",
    [
        ["hydra.run.dir=file/run"],
        ["paths.log_dir=file/run"],
        ["-m", "seed=0,1", "hydra.sweep.dir=file/run"],
        ["-m", "seed=0,1", "paths.log_dir=file/run"],
    ],
)
def test_a_folder_that_cannot_be_created(overrides: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_command("train", *overrides, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {overrides[-1]}: cannot create a folder in ")
    assert done.stderr.endswith("; choose another folder\n")
    assert everything(tmp_path) == {"file"}
