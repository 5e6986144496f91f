"""What all commands share: the treatment of their arguments and of errors."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from rich.console import Console

from src.cli.arguments import arrange_arguments
from src.cli.command import explain_stop
from src.cli.run import end_on_closed_output, explain_other_error
from src.system.signals import Stopped
from tests.commands import run_command
from tests.faults.accidents import action_at_step
from tests.trainings import SMALL


def test_multirun_flag_between_overrides() -> None:
    """Python's argparse does not accept overrides on both sides of the flag."""
    assert arrange_arguments(["head=vanilla", "-m", "seed=0,1"]) == ["-m", "head=vanilla", "seed=0,1"]


def test_the_home_folder_in_values_and_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands ~ in KEY=~, and Hydra cannot parse it."""
    monkeypatch.setenv("HOME", "/home/ann")
    given = ["dataset.root=~/data", "runs=[~/a,~/b]", "paths.log_dir=~", "~callbacks.pictures", "a=b~/c", "a='~/d'"]
    assert arrange_arguments(given) == [
        "dataset.root=/home/ann/data", "runs=[/home/ann/a,/home/ann/b]", "paths.log_dir=/home/ann",
        "~callbacks.pictures", "a=b~/c", "a='~/d'",
    ]  # fmt: skip


def test_a_choice_from_a_search_path(tmp_path: Path) -> None:
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "mine.yaml").write_text("defaults: [largefov]\nchannels: 16\n")
    path = f"hydra.searchpath=[file://{tmp_path}]"
    done = run_command("describe", path, "head=mine", "measure=false", f"paths.log_dir={tmp_path}/logs")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("override", ["command=nan", "+command.more=nan"])
def test_the_key_that_names_the_command_is_refused(override: str) -> None:
    done = run_command("report", override)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {override}: this key names the command and cannot be set\n",
    )


def lines_of(error: Exception) -> str:
    try:
        raise error
    except Exception as raised:
        return explain_other_error(raised, begun=True, name="train")


def test_a_file_that_fails_within_a_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        os.stat(tmp_path / "x.png")
    assert explain_other_error(missing.value, True, "train").startswith(
        f"{tmp_path}/x.png: No such file or directory ("
    )


def test_lightnings_own_checks_are_one_line() -> None:
    with pytest.raises(ValueError, match="barebones") as refused:
        Trainer(accelerator="cpu", barebones=True, profiler="simple")
    assert "(HYDRA_FULL_ERROR=1" in explain_other_error(refused.value, True, "train")


def test_a_schedule_that_torch_stops_is_one_line() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=1)
    optimizer.step()
    schedule.step()
    with pytest.raises(ValueError, match="total steps") as stopped:
        schedule.step()
    assert explain_other_error(stopped.value, True, "train").startswith("scheduler: Tried to step 2 times")


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no"), ZeroDivisionError("no")])
def test_any_other_error_is_a_bug(error: Exception) -> None:
    assert lines_of(error) == ""


def test_a_bug_shows_its_traceback_and_where_to_report_it(tmp_path: Path) -> None:
    broken = "+callbacks.broken={_target_:tests.faults.accidents.ActionAtStep,what:divide,step:1,once:/nowhere/x}"
    done = run_command("train", *SMALL, "crf=none", broken, f"paths.log_dir={tmp_path}")
    assert done.returncode == 2  # an argument that the class does not have is an error of the user
    bug = action_at_step("divide_by_zero", 1)
    done = run_command("train", *SMALL, "crf=none", bug, f"paths.log_dir={tmp_path}")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "Please report it with the lines above" in done.stderr.splitlines()[-1]


def test_an_error_while_a_signal_stops_the_command_is_the_stop(capsys: pytest.CaptureFixture[str]) -> None:
    """OmegaConf can raise an error because the signal interrupted the construction of an object."""

    def half_built() -> None:
        try:
            raise Stopped(signal.SIGINT)
        finally:
            raise AttributeError("half built")

    with pytest.raises(Stopped) as stopped, explain_stop("train"):
        half_built()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "stopped by SIGINT\n"


def test_other_errors_pass() -> None:
    with pytest.raises(AttributeError), explain_stop("train"):
        raise AttributeError("a bug")


def test_further_processes_of_a_training_print_one_line_too(tmp_path: Path) -> None:
    """They inherit HYDRA_FULL_ERROR, which the first process has set for Hydra."""
    further = {"LOCAL_RANK": "1", "HYDRA_FULL_ERROR": "1"}
    done = run_command("train", *SMALL, "data.batch_size=0", f"paths.log_dir={tmp_path}", environment=further)
    assert done.returncode == 2
    assert done.stderr.startswith("error: data.batch_size=0")


def test_a_closed_pipe_has_the_same_exit_status_with_rich(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in ``deeplab describe | head -1``: rich would exit with status 1."""

    def print_with_rich() -> None:
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            Console().on_broken_pipe()

    with (tmp_path / "output").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)  # rich closes the pipe
        with pytest.raises(SystemExit) as ended, end_on_closed_output():
            print_with_rich()
    assert ended.value.code == 141
