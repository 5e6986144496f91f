"""Predict by several processes: which images each one labels, and that together they write what one would."""

import signal
from pathlib import Path

import pytest

from src.prediction.shards import Shard, find_shard
from src.system.errors import UserError
from tests.checkpoints import write_checkpoint
from tests.commands import Command, run_command
from tests.faults.accidents import SignalInCall
from tests.prediction.test_predict import pictures, run

ARRAY = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "3"}


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        ("auto", {}, Shard(0, 1)),
        ("auto", {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, Shard(0, 1)),  # left over, without torchrun
        (
            "auto",
            {"TORCHELASTIC_RUN_ID": "none", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"},
            Shard(5, 8, local_index=1),
        ),
        ("auto", {"SLURM_ARRAY_TASK_ID": "3", **ARRAY}, Shard(0, 1)),  # an array of other inputs must lose no image
        ("3/4", {}, Shard(3, 4)),
        ("slurm", {"SLURM_ARRAY_TASK_ID": "5", **ARRAY}, Shard(2, 3)),  # sbatch --array=1-5:2
        ("slurm", {"SLURM_ARRAY_TASK_ID": "3", **ARRAY, "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, Shard(1, 3)),
        ("slurm", {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}, Shard(3, 4, 1)),
        (
            "slurm",  # srun with two processes in each task of an array
            {"SLURM_ARRAY_TASK_ID": "5", **ARRAY, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"},
            Shard(5, 6, 0),
        ),
    ],
)
def test_the_shard_of_a_process(given: str, variables: dict[str, str], expected: Shard) -> None:
    assert find_shard(given, variables) == expected


@pytest.mark.parametrize(
    ("given", "variables", "said"),
    [
        ("2/2", {}, "shard=2/2: must be"),
        ("0/0", {}, "shard=0/0: must be"),
        ("-1/2", {}, "shard=-1/2: must be"),
        ("torchrun", {}, "shard=torchrun: must be"),
        ("slurm", {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4"}, "neither a SLURM array task"),
        ("slurm", {"SLURM_ARRAY_TASK_ID": "4", **ARRAY}, "SLURM_ARRAY_TASK_ID=4 is not one of 3 indices"),
        ("slurm", {"SLURM_ARRAY_TASK_ID": "7", **ARRAY}, "SLURM_ARRAY_TASK_ID=7 is not one of 3 indices"),
    ],
)
def test_wrong_shards_are_named(given: str, variables: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_shard(given, variables)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, without those that begin with a dot."""
    files = (path for path in folder.rglob("[!.]*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_processes_write_the_files_of_one_also_after_a_kill(tmp_path: Path) -> None:
    """The second of two processes is killed while it saves its second image, and started again."""
    write_checkpoint(tmp_path / "net.ckpt")
    pictures(tmp_path / "in", *(f"{number}.png" for number in range(7)))
    (tmp_path / "in" / "7.png").write_text("no image\n")

    common = ["crf=none", "shares=true", "coco=true"]
    assert len(run(tmp_path / "net.ckpt", tmp_path / "in", tmp_path / "one", *common)) == 1  # 7.png cannot be read

    def command(rank: int, log: str, before: SignalInCall | None = None) -> Command:
        """Start a process as ``torchrun --nproc-per-node=2`` does."""
        environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        environment |= {"TORCHELASTIC_RUN_ID": "none", "OMP_NUM_THREADS": "1"}
        arguments = [*common, f"ckpt={tmp_path}/net.ckpt", f"input={tmp_path}/in", f"output={tmp_path}/two"]
        arguments += ["accelerator=cpu", "precision=32-true", f"paths.log_dir={tmp_path}/logs/{log}"]
        return Command("predict", *arguments, output=tmp_path / f"{log}.txt", environment=environment, before=before)

    kill = SignalInCall("src.prediction.predict:save_prediction", 2, "SIGKILL")
    first, second = command(0, "first"), command(1, "second", kill)
    assert first.wait() == 0, first.output.read_text()
    assert second.wait() == -signal.SIGKILL
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "two" / "masks").iterdir()}
    assert {path.name for path in stamps} >= {"0.png", "2.png", "4.png", "6.png"}
    assert len(stamps) < 7

    again = command(1, "again")
    assert again.wait() == 1
    assert f"of 4 images of shard 1/2 (8 in all) labelled, {len(stamps) - 4} were there already" in (
        again.output.read_text()
    )
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps  # each image once
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_shards_need_a_common_folder(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt")
    pictures(tmp_path / "in", "a.png")
    arguments = (f"ckpt={tmp_path}/net.ckpt", f"input={tmp_path}/in", "shard=0/2", f"paths.log_dir={tmp_path}/logs")
    done = run_command("predict", *arguments)
    assert done.returncode == 2
    assert "output=FOLDER is needed" in done.stderr


def test_overwrite_replaces_the_own_shard_only(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt")
    pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    arguments = [f"ckpt={tmp_path}/net.ckpt", f"input={tmp_path}/in", f"output={tmp_path}/out", "shares=true"]
    arguments += [f"paths.log_dir={tmp_path}/logs", "accelerator=cpu", "crf=none", "overlays=false"]
    assert run_command("predict", *arguments).returncode == 0
    before = contents(tmp_path / "out")
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "masks").iterdir()}
    assert run_command("predict", *arguments, "shard=1/2", "overwrite=true").returncode == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "masks").iterdir()}
    assert {name for name in stamps if after[name] != stamps[name]} == {"b.png"}
    assert contents(tmp_path / "out") == before
