"""The commit in a run's record is that of this code."""

import subprocess
from pathlib import Path

import pytest

from src.runs import provenance


def test_the_commit_of_another_project_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is installed in a .venv within the other project's checkout."""

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    installed = tmp_path / ".venv" / "provenance.py"
    installed.parent.mkdir()
    installed.touch()
    git("init")
    git("commit", "--allow-empty", "-m", "theirs")
    monkeypatch.setattr(provenance, "__file__", str(installed))
    run_git = provenance.run_git.__wrapped__  # without its cache
    assert run_git("rev-parse", "HEAD") == ""
    git("add", ".")
    assert run_git("rev-parse", "HEAD") == git("rev-parse", "HEAD")  # a checkout that tracks the file
