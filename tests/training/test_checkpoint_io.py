"""Checkpoint files: written whole or not at all; a damaged one is noticed, and the previous one is used."""

import errno
import logging
import os
import time
from pathlib import Path

import pytest
import torch

from src.cli.compose import compose
from src.runs.checkpoints import (
    find_best_checkpoint,
    find_last_checkpoint,
    newest_intact,
    previous_path,
    record_run,
)
from src.system.errors import UserError
from src.training.checkpoint_io import SafeCheckpointIO


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a run's last checkpoint, of step 2, with the previous one, of step 1, beside it."""
    path = tmp_path / "run/checkpoints/last.ckpt"
    for step in (1, 2):
        SafeCheckpointIO().save_checkpoint({"step": step, "weight": torch.arange(1000.0)}, path)
    return path


def step(path: Path) -> int:
    return SafeCheckpointIO().load_checkpoint(path)["step"]


def test_the_new_one_and_the_one_before_are_kept_and_nothing_else(path: Path) -> None:
    assert (step(path), step(previous_path(path))) == (2, 1)
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "last.ckpt.previous"]


@pytest.mark.parametrize("damage", ["cut", "empty", "a byte", "gone"])
def test_damage_is_found_and_the_one_before_used(path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(torch.arange(1000.0).numpy().tobytes()) + 2000
    content[place] ^= 1  # within a weight, which torch.load alone accepts
    path.write_bytes({"cut": content[:-300], "empty": b"", "a byte": content, "gone": b""}[damage])
    if damage == "gone":
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert step(path) == 1
    assert f"using the previous version, {previous_path(path)}" in caplog.text
    previous_path(path).write_bytes(b"")
    with pytest.raises(UserError, match="its previous version is not intact either"):
        newest_intact(path)


@pytest.mark.parametrize("where", ["write", "fsync"])
def test_a_full_disk_leaves_the_last_good_one(path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(content: object, file: object) -> None:
        file.write(b"half of it")  # type: ignore[attr-defined]
        raise OSError(errno.ENOSPC, "No space left on device")

    def unflushed(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((torch, "save", full) if where == "write" else (os, "fsync", unflushed)))
    with pytest.raises(UserError, match=rf"could not be written .*resume with ckpt={path}"):
        SafeCheckpointIO().save_checkpoint({"step": 3}, path)
    monkeypatch.undo()
    assert step(path) == 2
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "last.ckpt.previous"]


def test_nothing_but_values_is_loaded(tmp_path: Path) -> None:
    torch.save({"callable": os.system}, tmp_path / "evil.ckpt")
    with pytest.raises(Exception, match="Weights only load failed"):
        SafeCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)


def test_last_is_the_newest_runs(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other/checkpoints/last.ckpt"
    SafeCheckpointIO().save_checkpoint({"step": 9}, other)
    os.utime(other, (time.time() + 9, time.time() + 9))
    assert find_last_checkpoint(tmp_path) == other
    os.rename(other, previous_path(other))  # killed between two renames
    assert find_last_checkpoint(tmp_path) == other
    assert step(find_last_checkpoint(tmp_path)) == 9
    record_run(tmp_path, other.parents[1])
    record_run(tmp_path, path.parents[1])  # began last, whatever the clock says
    assert find_last_checkpoint(tmp_path) == path
    with pytest.raises(UserError, match=r"no run below .* has a checkpoint"):
        find_last_checkpoint(tmp_path / "nowhere")


def test_last_of_an_evaluation_is_the_best_of_the_newest_run(path: Path, tmp_path: Path) -> None:
    assert find_best_checkpoint(tmp_path) == path  # no validation yet
    best = path.with_name("best.ckpt")
    SafeCheckpointIO().save_checkpoint({"step": 1}, best)
    SafeCheckpointIO().save_checkpoint({"step": 0}, tmp_path / "older/checkpoints/last.ckpt")
    record_run(tmp_path, tmp_path / "older")
    record_run(tmp_path, path.parents[1])
    for command in ("evaluate", "predict", "export", "tune_crf"):
        config = compose(command, "ckpt=last", f"paths.log_dir={tmp_path}", output_dir=tmp_path / "out")
        assert Path(config.ckpt) == best
    os.rename(best, previous_path(best))  # killed between two renames
    assert find_best_checkpoint(tmp_path) == previous_path(best)
    previous_path(best).write_bytes(b"")
    with pytest.raises(UserError, match=f"^init_from={best}: no such file, and its previous version is not intact"):
        find_best_checkpoint(tmp_path, "init_from")
