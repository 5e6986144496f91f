"""The faults: cause each of them, resume the training, and compare it with the uninterrupted one."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator

from tests.faults.accidents import KillInWrite, SmallFiles, action_at_step, clock_backwards, requeue
from tests.faults.bench import Bench, Outcome, small_disk
from tests.faults.commands import (
    SAVE_EVERY,
    STEPS,
    VALIDATE_EVERY,
    differences,
    run_folders,
    start_training,
)

PLACES = (0.0, 0.3, 0.9, "fsync", "replace 1", "replace 2", "flush_folder", 0.6)
NOTHING = "nothing"


def kills(bench: Bench) -> Iterator[Outcome]:
    """Kill at random moments of training, every third time while a checkpoint is written."""
    lost: dict[str, list[int]] = {"SIGKILL at a random moment": [], "SIGKILL while a checkpoint is written": []}
    problems: dict[str, list[str]] = {fault: [] for fault in lost}
    message = dict.fromkeys(lost, "")
    for number in range(bench.kills):
        name, at = f"kill{number}", bench.folder / f"kill{number}.step"
        if number % 3 == 2:
            fault, place = list(lost)[1], PLACES[number // 3 % len(PLACES)]
            writes = KillInWrite(bench.random.randint(2, STEPS // SAVE_EVERY + STEPS // VALIDATE_EVERY), place, at)
            bench.run_until_exit(name, status=-signal.SIGKILL, before=writes)
        else:
            fault, delay = next(iter(lost)), bench.random.uniform(0, bench.seconds)
            for _ in range(10):
                killer = f"{{_target_:tests.faults.accidents.KillLater,seconds:{delay},path:{at}}}"
                if bench.run_until_exit(name, f"+callbacks.kill={killer}").process.exitcode == -signal.SIGKILL:
                    break
                shutil.rmtree(bench.folder / name)  # training had ended before
                delay *= 0.7
        lost[fault].append(int(at.read_text()) - bench.step(name))
        command, differing = bench.resume(name)
        problems[fault] += [f"{number}: {difference}" for difference in differing]
        message[fault] = command.line("using the previous version") or message[fault] or command.line("ckpt=last is")
    for fault, steps in lost.items():
        if max(steps, default=0) > SAVE_EVERY:
            problems[fault].append(f"{max(steps)} steps lost, with a checkpoint every {SAVE_EVERY}")
        most = f"at most {max(steps, default=0)} steps"
        yield Outcome(f"{fault}, {len(steps)} times", most, message[fault], problems[fault])


def sigterm(bench: Bench) -> Iterator[Outcome]:
    command = bench.run_until_exit("sigterm", action_at_step("terminate", 11), status=143)
    lost = 11 - bench.step("sigterm")
    _, problems = bench.resume("sigterm")
    yield Outcome("SIGTERM", f"{lost} steps" if lost else NOTHING, command.line("SIGTERM at step"), problems)


def full_disk(bench: Bench) -> Iterator[Outcome]:
    folder = bench.folder / "full"
    try:
        with small_disk(folder, int(3.7 * bench.size)) as remount:  # last.ckpt, the previous one, and one being written
            command = bench.run_until_exit("full", status=2)
            lost = VALIDATE_EVERY - bench.step("full")
            remount(f"size={30 * bench.size}")
            _, problems = bench.resume("full")
            fault = "disk full (tmpfs)"
    except PermissionError:
        command = bench.run_until_exit("limited", before=SmallFiles(bench.size // 2, after=5), status=2)
        lost = VALIDATE_EVERY - bench.step("limited")
        problems, fault = bench.resume("limited")[1], "disk full (a limit on the size of files)"
    yield Outcome(fault, f"{lost} steps" if lost else NOTHING, command.line("error:"), problems)


def read_only(bench: Bench) -> Iterator[Outcome]:
    folder = bench.folder / "readonly"
    try:
        with small_disk(folder, 10**7) as remount:
            remount("ro")
            command = bench.run_until_exit("readonly", status=2)
    except PermissionError:
        command = start_training(bench.folder / "proc", "paths.log_dir=/proc/nowhere")
        command.wait()
    begun = ["training began"] if command.line("Parameter groups") else []
    yield Outcome("read-only output folder", "nothing: refused at the start", command.line("error:"), begun)


def damaged_checkpoint(bench: Bench) -> Iterator[Outcome]:
    for damage in ("cut short", "bytes flipped"):
        name = damage.replace(" ", "_")
        bench.run_until_exit(name, action_at_step("kill", 13), status=-signal.SIGKILL)
        (run,) = run_folders(bench.folder / name)
        last = run / "checkpoints" / "last.ckpt"
        content = bytearray(last.read_bytes())
        for place in range(len(content) // 2, len(content) // 2 + 9):
            content[place] ^= 255
        last.write_bytes(content[: len(content) // 3] if damage == "cut short" else content)
        lost = 13 - bench.step(name)
        command, problems = bench.resume(name)
        message = command.line("using the previous version")
        yield Outcome(f"checkpoint damaged: {damage}", f"{lost} steps", message, problems)


def two_runs(bench: Bench) -> Iterator[Outcome]:
    pipe = bench.folder / "pipe"
    for path in (pipe, pipe.with_name("pipe.there")):
        os.mkfifo(path)
    here = f"hydra.run.dir={bench.folder}/two/train/runs/today/run"
    one = start_training(bench.folder / "two", here, action_at_step("wait", 5, pipe))
    pipe.with_name("pipe.there").read_text()  # until it has reached the step
    other = start_training(bench.folder / "two", here)
    problems = [] if other.wait() == 2 else ["the second was not refused"]
    pipe.write_text("")
    if one.wait():
        problems.append(f"exit status {one.process.exitcode}: {one.text}")
    else:
        problems += differences(bench.reference, run_folders(bench.folder / "two"))
    yield Outcome("two runs in one folder", NOTHING, other.line("error:"), problems)


def folder_again(bench: Bench) -> Iterator[Outcome]:
    """A new run in a killed run's folder is refused, and the killed run can be resumed at once."""
    here = f"hydra.run.dir={bench.folder}/same/train/runs/today/run"
    bench.run_until_exit("same", here, action_at_step("kill", 13), status=-signal.SIGKILL)
    lost = 13 - bench.step("same")
    (run,) = run_folders(bench.folder / "same")
    anew = start_training(bench.folder / "same", here)
    problems = [] if anew.wait() == 2 else ["its checkpoints were overwritten"]
    again = start_training(bench.folder / "same", here, f"ckpt={run}/checkpoints/last.ckpt")
    problems += [again.text] if again.wait() else differences(bench.reference, [run])
    yield Outcome("a killed run's folder again", f"{lost} steps", anew.line("error:"), problems)


def requeued(bench: Bench) -> Iterator[Outcome]:
    """A SLURM job is stopped, and started again by the same command in the same folder."""
    here = f"hydra.run.dir={bench.folder}/requeued/train/runs/slurm-1"
    bench.run_until_exit("requeued", here, action_at_step("terminate", 11), status=143)
    lost = 11 - bench.step("requeued")
    again = start_training(bench.folder / "requeued", here, before=requeue)
    problems = [again.text] if again.wait() else differences(bench.reference, run_folders(bench.folder / "requeued"))
    yield Outcome(
        "SLURM job queued again", f"{lost} steps" if lost else NOTHING, again.line("SLURM requeued"), problems
    )


def clock(bench: Bench) -> Iterator[Outcome]:
    """The files of the first run lie in the future; the clock of the second, which resumes it, runs backwards."""
    bench.run_until_exit("clock", action_at_step("kill", 9), status=-signal.SIGKILL)
    later = time.time() + 10**7
    for path in (bench.folder / "clock").rglob("last.ckpt*"):
        os.utime(path, (later, later))
    bench.run_until_exit("clock", "ckpt=last", action_at_step("terminate", 17), status=143, before=clock_backwards)
    lost = 17 - bench.step("clock")
    command, problems = bench.resume("clock", before=clock_backwards)
    message = command.line("ckpt=last is")
    yield Outcome("clock set back, then running backwards", f"{lost} steps" if lost else NOTHING, message, problems)
