"""Files are written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from src.system.files import append_line, expand_path, read_json, read_json_lines, replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.txt"
    write_text(path, "old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("said"), KeyboardInterrupt()])
def test_an_error_passes_through_and_leaves_the_old_file(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def stop_halfway() -> None:
        with replacing(path, durable=True, keep=tmp_path / "kept") as part:
            part.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        stop_halfway()
    assert caught.value is error
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end_leaves_the_old_file(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, where, fail)
    with pytest.raises(OSError, match="No space left"), replacing(path, durable=True) as part:
        part.write_text("new")
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])


def test_the_file_before_is_kept(tmp_path: Path) -> None:
    path, before = tmp_path / "a.txt", tmp_path / "a.txt.previous"
    for text in ("1", "2", "3"):
        with replacing(path, keep=before) as part:
            part.write_text(text)
    assert (path.read_text(), before.read_text(), names(tmp_path)) == ("3", "2", ["a.txt", "a.txt.previous"])


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as part:
        pass_on = part
        part.write_text("whole")
    pass_on.write_text("half, and then killed")
    write_text(tmp_path / "a.txt", "again")
    assert names(tmp_path) == ["a.txt"]


def test_processes_that_share_a_file_write_to_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replacing(tmp_path / "a.txt", shared=True) as one:
        one.write_text("one")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with replacing(tmp_path / "a.txt", shared=True) as other:
            other.write_text("other")
    assert (tmp_path / "a.txt").read_text() == "one"  # renamed last
    assert names(tmp_path) == ["a.txt"]


def test_an_error_names_the_file_that_the_user_knows(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.part").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "a.txt", "text")
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_paths_are_expanded_as_a_shell_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DATA", "/big/data")
    monkeypatch.delenv("NOWHERE", raising=False)
    given = ["~/a", "$DATA/a", "${DATA}/a b", "a/~/$DATA", "$NOWHERE/a", "a~b", "plain"]
    expected = ["/home/me/a", "/big/data/a", "/big/data/a b", "a/~//big/data", "$NOWHERE/a", "a~b", "plain"]
    assert [expand_path(path) for path in given] == list(map(Path, expected))


@pytest.mark.parametrize("content", [None, b"", b'{"a": 1', b"[1]", b"\xff"])
def test_json_that_is_missing_or_damaged_is_empty(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json") == {}


def test_lines_that_a_kill_has_cut_short_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert read_json_lines(path) == []
    append_line(path, '{"a": 1}')
    path.write_bytes(path.read_bytes() + b'{"b": ')
    append_line(path, '{"c": 3}')
    assert read_json_lines(path) == [{"a": 1}, {"c": 3}]
