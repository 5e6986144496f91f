"""Requeueing a SLURM job, with a script in place of ``scontrol`` that records its arguments."""

from pathlib import Path

import pytest

from src.training.slurm import requeue_job

VARIABLES = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that gets the arguments of scontrol."""
    script = tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ntest "$2" != 13 || {{ echo denied >&2; exit 1; }}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "asked"


def test_a_job_is_queued_again(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    requeue_job()
    assert asked.read_text() == "requeue 7\n"


def test_a_task_of_an_array_is_queued_again(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, ("9", "7", "2"), strict=True):
        monkeypatch.setenv(name, value)
    requeue_job()
    assert asked.read_text() == "requeue 7_2\n"


def test_what_scontrol_refuses_is_said(
    asked: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    requeue_job()
    assert caplog.messages == ["scontrol requeue 13 failed: denied"]


def test_outside_of_a_job_nothing_is_asked(asked: Path) -> None:
    requeue_job()
    assert not asked.exists()
