"""Multiruns with failed or killed jobs, and the same multirun repeated."""

import csv
import json
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from src.cli.sweep.check import jobs_to_check
from src.cli.sweep.jobs import RECORD, use_last_checkpoint, write_record
from src.cli.sweep.results import collect_results
from tests.cli.test_conf import compose
from tests.commands import run_command
from tests.conftest import REPO
from tests.faults.accidents import action_at_step
from tests.models.networks import composed
from tests.trainings import SMALL, losses, train


def multirun(folder: Path, *overrides: str, command: str = "train") -> subprocess.CompletedProcess[str]:
    return run_command(command, "-m", *overrides, f"hydra.sweep.dir={folder}")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_results_of_jobs_in_folders_that_the_user_named(tmp_path: Path) -> None:
    """hydra.sweep.subdir may name them in any way; by default, they begin with their number."""
    for name in ("10_seed=1", "9_seed=0", "seed/0", "late"):
        (tmp_path / name).mkdir(parents=True)
        write_record(tmp_path / name, {"status": "done", "overrides": [], "seconds": 1.0, "error": ""})
    (tmp_path / "9_seed=0" / RECORD).write_text("{")  # damaged
    found = [(row["job"], row["status"]) for row in collect_results(tmp_path)]
    assert found == [("seed/0", "done"), ("9_seed=0", "unfinished"), ("10_seed=1", "done"), ("late", "done")]


def test_a_failed_job_is_marked_and_the_others_run(tmp_path: Path) -> None:
    jobs = ["backbone=slim", "measure=false", "head.kernel=3,0,5"]
    done = multirun(tmp_path, *jobs, command="describe")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "2 of 3 jobs done" in done.stdout
    table = rows(tmp_path)
    assert [row["status"] for row in table] == ["done", "failed", "done"]
    assert [row["overrides"].split()[-1] for row in table] == ["head.kernel=3", "head.kernel=0", "head.kernel=5"]
    assert table[1]["error"].startswith("head.kernel=0: must be positive")
    assert "head.kernel=0: must be positive" in (tmp_path / table[1]["job"] / "describe.log").read_text()
    assert "InstantiationException" in (tmp_path / table[1]["job"] / "traceback.txt").read_text()

    again = multirun(tmp_path, *jobs, command="describe")
    assert again.stdout.count("already done") == 2
    assert [row["status"] for row in rows(tmp_path)] == ["done", "failed", "done"]


@pytest.mark.parametrize(
    ("command", "overrides", "line"),
    [
        ("train", ["optimizer.lr=0.1,abc"], "optimizer.lr=abc: optimizer.lr takes a number, such as optimizer.lr="),
        ("train", ["head=largefov,vanilla", "seed=1,a"], "seed=a: seed takes a number, such as seed=0"),
        ("train", ["head=largefov,vanila"], "head=vanila: no such choice. Did you mean vanilla?"),
        ("train", ["init_from=null,/nowhere.ckpt"], "init_from=/nowhere.ckpt: no such file; give"),
        ("describe", ["size=65,-1"], "size=-1: size takes a whole number, 1 or more"),
    ],
)
def test_a_wrong_value_is_refused_before_the_first_job(
    command: str, overrides: list[str], line: str, tmp_path: Path
) -> None:
    done = multirun(tmp_path / "sweep", *overrides, command=command)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {line}")
    assert not list((tmp_path / "sweep").glob("*/*"))


def test_every_value_is_checked_once() -> None:
    """Three and four values need six jobs, not twelve: the first has one of each, the others one more each."""
    config = OmegaConf.create(
        {
            "hydra": {
                "sweeper": {"params": None},
                "overrides": {"task": ["a=1,2,3", "b=range(4)", "c=${paths.output_dir}"]},
            }
        }
    )
    jobs = list(jobs_to_check(config))
    assert jobs[0][:2] == ["a=1", "b=0"]
    assert len(jobs) == 6
    assert {value for job in jobs for value in job[:2]} == {*["a=1", "a=2", "a=3", "b=0", "b=1", "b=2", "b=3"]}


def test_a_killed_sweep_resumes_from_the_last_checkpoint(tmp_path: Path) -> None:
    """Job 0 is done, job 1 is killed at step 3 after a checkpoint at step 2, and job 2 has not begun."""
    kill = f"folder:${{paths.output_dir}},job:1_,step:3,marker:{tmp_path / 'killed'}"
    jobs = [
        *SMALL,
        "crf=none",
        "logger=csv",
        "seed=0,1,2",
        f"+callbacks.kill={{_target_:tests.integration.sweep_faults.KillOnce,{kill}}}",
    ]
    assert multirun(tmp_path / "sweep", *jobs).returncode == -signal.SIGKILL
    first = next((tmp_path / "sweep").glob("0_*"))
    before = (first / "metrics.json").stat().st_mtime_ns

    again = multirun(tmp_path / "sweep", *jobs)
    assert again.returncode == 0, again.stderr
    table = rows(tmp_path / "sweep")
    assert [row["status"] for row in table] == ["done"] * 3
    assert (first / "metrics.json").stat().st_mtime_ns == before
    assert [len(losses(tmp_path / "sweep" / row["job"])) for row in table] == [4, 2, 4]
    for row in table:
        figures = json.loads((tmp_path / "sweep" / row["job"] / "metrics.json").read_text())
        assert float(row["miou"]) == figures["val/miou"]


def test_nan_and_other_errors_do_not_stop_the_sweep(tmp_path: Path) -> None:
    """With debug=find_nan, the learning rate that makes the loss NaN causes an error that is no UserError."""
    done = multirun(tmp_path, *SMALL, "crf=none", "logger=csv", "debug=find_nan", "optimizer.lr=1e38,0.01")
    assert done.returncode == 1
    assert [row["status"] for row in rows(tmp_path)] == ["failed", "done"]
    assert "nan" in rows(tmp_path)[0]["error"].lower()


def test_jobs_out_of_memory_name_the_settings_and_the_next_ones_run(tmp_path: Path) -> None:
    kinds = ["gpu", "cpu", "python", "validation", "none"]
    fault = [
        "+callbacks.fault._target_=tests.integration.sweep_faults.OutOfMemory",
        f"+callbacks.fault.kind={','.join(kinds)}",
    ]
    done = multirun(tmp_path, *SMALL, "crf=none", "logger=csv", "trainer.max_steps=2", *fault)
    assert done.returncode == 1
    table = rows(tmp_path)
    assert [row["overrides"].split("kind=")[1] for row in table] == kinds
    assert [row["status"] for row in table] == ["failed"] * 4 + ["done"], done.stderr
    for row in table[:4]:
        assert row["error"].startswith(
            "out of memory: lower data.batch_size (and raise trainer.accumulate_grad_batches"
        )
        assert row["error"] in (tmp_path / row["job"] / "train.log").read_text()
        assert row["error"] in done.stdout
    assert "Traceback" not in done.stderr
    assert "1 of 5 jobs done" in done.stdout


@pytest.mark.parametrize(
    ("last", "before", "found"),
    [
        ("2", "1", "last.ckpt"),
        (None, "1", "last.ckpt.previous"),
        ("cut", "1", "last.ckpt.previous"),
        ("cut", None, None),
    ],
)
def test_a_job_resumes_from_the_newest_intact_checkpoint(
    tmp_path: Path, last: str | None, before: str | None, found: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A kill between two renames leaves last.ckpt.previous only."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name, state in {"last.ckpt": last, "last.ckpt.previous": before}.items():
        if state:
            torch.save({"step": state}, folder / name)
            if state == "cut":
                (folder / name).write_bytes((folder / name).read_bytes()[:-100])
    config = OmegaConf.create({"command": "train", "ckpt": "began/with.ckpt"})
    use_last_checkpoint(config, tmp_path)
    assert config.ckpt == (str(folder / found) if found else "began/with.ckpt")
    assert ("starting again" in caplog.text) == (found is None)


def test_a_folder_of_another_sweep_is_refused(tmp_path: Path) -> None:
    long = "+note=" + 100 * "x"  # the folder's name is cut before what tells the jobs apart
    jobs = ["backbone=slim", "measure=false", long]
    assert multirun(tmp_path, *jobs, "size=65", command="describe").returncode == 0
    done = multirun(tmp_path, *jobs, "size=73", command="describe")
    assert done.returncode == 2
    assert "holds the job" in done.stderr


def test_a_signal_stops_the_sweep(tmp_path: Path) -> None:
    """The current job counts as unfinished, and the later ones do not begin."""
    done = multirun(tmp_path, *SMALL, "crf=none", "seed=0,1", action_at_step("terminate", 1))
    assert done.returncode == 143, done.stderr
    assert [row["status"] for row in rows(tmp_path)] == ["unfinished"]


def test_the_last_run_of_a_sweep_is_the_last_before_it(tmp_path: Path) -> None:
    """Not the job before; and a job that was interrupted goes on from its own checkpoint."""
    (run,) = train(tmp_path, "crf=none", "scheduler=step", "trainer.max_steps=2")
    jobs = ["ckpt=last", "callbacks.pictures.count=1,2", f"paths.log_dir={tmp_path}", "trainer.max_steps=4"]
    jobs.append(action_at_step("terminate", 3))
    stopped = multirun(tmp_path / "sweep", *jobs)
    assert stopped.returncode == 143, stopped.stderr
    again = multirun(tmp_path / "sweep", *jobs)
    assert again.returncode == 0, again.stderr
    for done, line in ((stopped, f"ckpt=last is {run}/"), (again, f"ckpt=last is {run}/"), (again, "resuming from ")):
        assert done.stdout.count(line) == 1, done.stdout


def test_the_ablation_has_every_head_of_the_paper() -> None:
    sweeper = compose("experiment=ablation").hydra
    assert sweeper.mode.name == "MULTIRUN"
    heads = sweeper.sweeper.params.head.split(",")
    assert set(heads) == {path.stem for path in (REPO / "conf/head").glob("*.yaml")} - {"tutorial"}
    for head in heads:
        assert composed(f"head={head}").model.head


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "jobs"),
    [
        ("joblib", ["optimizer.lr=0.01,abc"]),
        ("submitit_local", ["optimizer.lr=0.01,abc"]),
        ("optuna", ["hydra.sweeper.n_trials=2", "optimizer.lr=tag(log,interval(0.01,0.02))"]),
    ],
)
def test_other_launchers(tmp_path: Path, launcher: str, jobs: list[str]) -> None:
    """The status, the table and the exit status are the same as with Hydra's own launcher."""
    done = multirun(tmp_path, *SMALL, "data.num_workers=1", "crf=none", "logger=csv", f"sweep={launcher}", *jobs)
    assert sorted(row["status"] for row in rows(tmp_path)) == (
        ["done", "done"] if launcher == "optuna" else ["done", "failed"]
    ), done.stderr
    assert done.returncode == (0 if launcher == "optuna" else 1), done.stderr
