"""Trainings that are stopped, starved or disturbed: what is saved, and the line that names the remedy.

``make faults`` also resumes each of them, and compares it with an uninterrupted run.
"""

import os
import re
import signal
from pathlib import Path

import pytest
import torch

from src.training.segmenter import Segmenter
from tests.faults.accidents import SmallFiles, action_at_step, requeue
from tests.faults.bench import small_disk
from tests.faults.commands import LoggedCommand, logged_values, run_folders, start_training

SHORT = ("trainer.max_steps=4", "trainer.val_check_interval=2", "head.channels=64")


def disturbed(folder: Path, *overrides: str, **options: object) -> tuple[int, LoggedCommand]:
    command = start_training(folder, *SHORT, *overrides, **options)  # type: ignore[arg-type]
    return command.wait(), command


def last(folder: Path) -> Path:
    (run,) = run_folders(folder)
    return run / "checkpoints" / "last.ckpt"


def step(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["global_step"]


def assert_one_line(command: LoggedCommand, *parts: str) -> None:
    errors = [line for line in command.text.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, command.text
    assert "Traceback" not in command.text
    assert all(part in errors[0] for part in parts), errors[0]


def test_the_batch_that_made_the_loss_nan_is_saved(tmp_path: Path) -> None:
    status, command = disturbed(tmp_path / "logs", action_at_step("spoil_weights", 3))
    assert status == 2, command.text
    assert_one_line(command, "the loss is nan at step 3, images ", "nonfinite.pt")
    (run,) = run_folders(tmp_path / "logs")
    kept = torch.load(run / "nonfinite.pt", weights_only=True)
    segmenter = Segmenter(**kept["hyper_parameters"])
    segmenter.load_state_dict(kept["state_dict"])
    assert segmenter.loss(segmenter(kept["batch"]["image"]), kept["batch"]["label"]).isnan()
    assert kept["batch"]["id"][0] in command.line("error:")
    assert step(last(tmp_path / "logs")) == 2


def test_out_of_memory_names_the_settings_to_change(tmp_path: Path) -> None:
    status, command = disturbed(tmp_path / "logs", action_at_step("want_memory", 3))
    assert status == 2, command.text
    assert_one_line(command, "out of memory: lower data.batch_size", f"resume with ckpt={last(tmp_path / 'logs')}")


def test_the_checkpoint_to_resume_from_is_named_where_it_is(tmp_path: Path) -> None:
    elsewhere = ("trainer.default_root_dir=nowhere", f"callbacks.resume.path={tmp_path}/kept/last.ckpt")
    _, command = disturbed(tmp_path / "logs", action_at_step("want_memory", 3), *elsewhere)
    assert_one_line(command, "out of memory: ", f"resume with ckpt={tmp_path}/kept/last.ckpt")


def test_sigterm_leaves_a_checkpoint_and_143(tmp_path: Path) -> None:
    status, command = disturbed(tmp_path / "logs", action_at_step("terminate", 3))
    assert status == 143
    assert command.line(f"SIGTERM at step 3; resume with ckpt={last(tmp_path / 'logs')}")
    assert step(last(tmp_path / "logs")) == 3


def test_a_dead_data_worker_is_named(tmp_path: Path) -> None:
    long = ("trainer.max_steps=24", "trainer.val_check_interval=24")  # after the batches that were fetched in advance
    status, command = disturbed(tmp_path / "logs", action_at_step("kill_data_worker", 3), "data.num_workers=2", *long)
    assert status == 2, command.text
    assert_one_line(command, "lower num_workers", "resume with ckpt=")
    assert re.search(r"data worker 0 of training \(process \d+, SIGKILL\) died", command.line("error:")), command.text


def test_a_crf_worker_that_hangs_does_not_stop_training(tmp_path: Path) -> None:
    """The first validation has no CRF, the second has new workers, and the process ends."""
    hanging = "crf._target_=tests.faults.lost_workers.HangingCRF", f"+crf.marker={tmp_path}/hung"
    status, command = disturbed(tmp_path / "logs", *hanging, "callbacks.crf.time_limit=1")
    assert status == 0, command.text
    assert command.line("validation after 2 steps: the CRF took more than 1 s", "training continues")
    assert "miou_crf" not in command.line("step      2")
    assert "miou_crf" in command.line("step      4")
    assert {at for at, name, _ in logged_values(run_folders(tmp_path / "logs")) if name == "val/miou_crf"} == {"3", "4"}


def test_a_second_run_in_a_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    pipe, here = tmp_path / "pipe", f"hydra.run.dir={tmp_path}/logs/run"
    for path in (pipe, tmp_path / "pipe.there"):
        os.mkfifo(path)
    one = start_training(tmp_path / "logs", *SHORT, here, action_at_step("wait", 3, pipe))
    (tmp_path / "pipe.there").read_text()  # until it has reached the step
    status, other = disturbed(tmp_path / "logs", here)
    assert status == 2, other.text
    assert_one_line(other, f"{tmp_path}/logs/run: another run (process {one.process.pid} on ", "choose another folder")
    pipe.write_text("")
    assert one.wait() == 0, one.text


def test_a_killed_runs_folder_is_unlocked_but_its_checkpoints_are_protected(tmp_path: Path) -> None:
    here = f"hydra.run.dir={tmp_path}/logs/run"
    assert disturbed(tmp_path / "logs", here, action_at_step("kill", 3), "data.num_workers=2")[0] == -signal.SIGKILL
    status, anew = disturbed(tmp_path / "logs", here)
    assert status == 2, anew.text
    assert_one_line(anew, "already holds a training run: resume it with ckpt=")
    assert step(last(tmp_path / "logs")) == 2
    status, again = disturbed(tmp_path / "logs", here, f"ckpt={last(tmp_path / 'logs')}")
    assert status == 0, again.text
    assert {at for at, name, _ in logged_values(run_folders(tmp_path / "logs")) if name == "train/loss"} == {
        "0",
        "1",
        "2",
        "3",
    }


def test_a_requeued_slurm_job_resumes(tmp_path: Path) -> None:
    here = f"hydra.run.dir={tmp_path}/logs/slurm-1"
    assert disturbed(tmp_path / "logs", here, action_at_step("terminate", 3))[0] == 143
    status, again = disturbed(tmp_path / "logs", here, before=requeue)
    assert status == 0, again.text
    assert again.line("SLURM requeued this job", str(last(tmp_path / "logs")))
    assert {at for at, name, _ in logged_values(run_folders(tmp_path / "logs")) if name == "train/loss"} == {
        "0",
        "1",
        "2",
        "3",
    }


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """Files may grow to 40 kB after the first checkpoint, as on a full disk."""
    full = SmallFiles(40_000, after=1)
    status, command = disturbed(tmp_path / "logs", "callbacks.resume.every_n_steps=1", before=full)
    assert status == 2, command.text
    good = last(tmp_path / "logs")
    assert_one_line(
        command,
        f"{good}: the checkpoint could not be written (File too large)",
        "make room",
        f"resume with ckpt={good}",
    )
    assert step(good) == 1


def test_a_read_only_folder_is_named_before_training(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "logs", 10**6) as remount:
            remount("ro")
            status, command = disturbed(tmp_path / "logs")
        where = f"paths.log_dir={tmp_path}/logs: cannot create a folder in {tmp_path}/logs (Read-only file system)"
    except PermissionError:  # of mounting
        (tmp_path / "file").touch()
        where = f"hydra.run.dir={tmp_path}/file/logs: cannot create a folder in "
        status, command = disturbed(tmp_path / "logs", f"hydra.run.dir={tmp_path}/file/logs")
    assert status == 2, command.text
    assert_one_line(command, where, "choose another folder")
    assert not command.line("Parameter groups")


@pytest.mark.parametrize("where", ["/proc/nowhere", "/dev/null/logs"])
def test_a_file_in_place_of_the_log_folder_is_named(tmp_path: Path, where: str) -> None:
    status, command = disturbed(tmp_path / "logs", f"hydra.run.dir={where}")
    assert status == 2, command.text
    assert_one_line(command, f"hydra.run.dir={where}: ", "choose another folder")
