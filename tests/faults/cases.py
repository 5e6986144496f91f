"""Fault by fault: bring it about, go on, compare with the uninterrupted training."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator

from tests.faults.accidents import KillInWrite, SmallFiles, clock_backwards, happening, queued_again
from tests.faults.bench import Bench, Outcome, small_disk
from tests.faults.commands import EVERY, STEPS, VALIDATION, differences, runs, trained

PLACES = (0.0, 0.3, 0.9, "fsync", "replace 1", "replace 2", "flush_folder", 0.6)
NOTHING = "nothing"


def kills(bench: Bench) -> Iterator[Outcome]:
    """At random moments of the time that training takes; every third within the writing of a checkpoint."""
    lost: dict[str, list[int]] = {"SIGKILL at a random moment": [], "SIGKILL while a checkpoint is written": []}
    wrong: dict[str, list[str]] = {fault: [] for fault in lost}
    said = dict.fromkeys(lost, "")
    for number in range(bench.kills):
        name, at = f"kill{number}", bench.folder / f"kill{number}.step"
        if number % 3 == 2:
            fault, place = list(lost)[1], PLACES[number // 3 % len(PLACES)]
            writes = KillInWrite(bench.random.randint(2, STEPS // EVERY + STEPS // VALIDATION), place, at)
            bench.stopped(name, status=-signal.SIGKILL, before=writes)
        else:
            fault, delay = next(iter(lost)), bench.random.uniform(0, bench.seconds)
            for _ in range(10):
                killer = f"{{_target_:tests.faults.accidents.KillLater,seconds:{delay},path:{at}}}"
                if bench.stopped(name, f"+callbacks.kill={killer}").process.exitcode == -signal.SIGKILL:
                    break
                shutil.rmtree(bench.folder / name)  # it was done by then
                delay *= 0.7
        lost[fault].append(int(at.read_text()) - bench.step(name))
        command, differing = bench.gone_on(name)
        wrong[fault] += [f"{number}: {difference}" for difference in differing]
        said[fault] = command.line("using the previous version") or said[fault] or command.line("ckpt=last is")
    for fault, steps in lost.items():
        if max(steps, default=0) > EVERY:
            wrong[fault].append(f"{max(steps)} iterations lost, with a checkpoint every {EVERY}")
        most = f"at most {max(steps, default=0)} iterations"
        yield Outcome(f"{fault}, {len(steps)} times", most, said[fault], wrong[fault])


def sigterm(bench: Bench) -> Iterator[Outcome]:
    command = bench.stopped("sigterm", happening("terminate", 11), status=143)
    lost = 11 - bench.step("sigterm")
    _, wrong = bench.gone_on("sigterm")
    yield Outcome("SIGTERM", f"{lost} iterations" if lost else NOTHING, command.line("SIGTERM at step"), wrong)


def full_disk(bench: Bench) -> Iterator[Outcome]:
    folder = bench.folder / "full"
    try:
        with small_disk(folder, int(3.7 * bench.size)) as remount:  # last, the one before, one more under way
            command = bench.stopped("full", status=2)
            lost = VALIDATION - bench.step("full")
            remount(f"size={30 * bench.size}")
            _, wrong = bench.gone_on("full")
            fault = "disk full (tmpfs)"
    except PermissionError:
        command = bench.stopped("limited", before=SmallFiles(bench.size // 2, after=5), status=2)
        lost = VALIDATION - bench.step("limited")
        wrong, fault = bench.gone_on("limited")[1], "disk full (a limit on the size of files)"
    yield Outcome(fault, f"{lost} iterations" if lost else NOTHING, command.line("error:"), wrong)


def read_only(bench: Bench) -> Iterator[Outcome]:
    folder = bench.folder / "readonly"
    try:
        with small_disk(folder, 10**7) as remount:
            remount("ro")
            command = bench.stopped("readonly", status=2)
    except PermissionError:
        command = trained(bench.folder / "proc", "paths.log_dir=/proc/nowhere")
        command.wait()
    begun = ["training began"] if command.line("Parameter groups") else []
    yield Outcome("read-only output folder", "nothing: refused at the start", command.line("error:"), begun)


def damaged_checkpoint(bench: Bench) -> Iterator[Outcome]:
    for damage in ("cut short", "bytes flipped"):
        name = damage.replace(" ", "_")
        bench.stopped(name, happening("kill", 13), status=-signal.SIGKILL)
        (run,) = runs(bench.folder / name)
        last = run / "checkpoints" / "last.ckpt"
        content = bytearray(last.read_bytes())
        for place in range(len(content) // 2, len(content) // 2 + 9):
            content[place] ^= 255
        last.write_bytes(content[: len(content) // 3] if damage == "cut short" else content)
        lost = 13 - bench.step(name)
        command, wrong = bench.gone_on(name)
        said = command.line("using the previous version")
        yield Outcome(f"checkpoint damaged: {damage}", f"{lost} iterations", said, wrong)


def two_runs(bench: Bench) -> Iterator[Outcome]:
    pipe = bench.folder / "pipe"
    for path in (pipe, pipe.with_name("pipe.there")):
        os.mkfifo(path)
    here = f"hydra.run.dir={bench.folder}/two/train/runs/today/run"
    one = trained(bench.folder / "two", here, happening("wait", 5, pipe))
    pipe.with_name("pipe.there").read_text()  # until it has come to the step
    other = trained(bench.folder / "two", here)
    wrong = [] if other.wait() == 2 else ["the second was not refused"]
    pipe.write_text("")
    if one.wait():
        wrong.append(f"exit status {one.process.exitcode}: {one.text}")
    else:
        wrong += differences(bench.reference, runs(bench.folder / "two"))
    yield Outcome("two runs in one folder", NOTHING, other.line("error:"), wrong)


def folder_again(bench: Bench) -> Iterator[Outcome]:
    """A killed run's folder is not begun anew in, and can be gone on in at once."""
    here = f"hydra.run.dir={bench.folder}/same/train/runs/today/run"
    bench.stopped("same", here, happening("kill", 13), status=-signal.SIGKILL)
    lost = 13 - bench.step("same")
    (run,) = runs(bench.folder / "same")
    anew = trained(bench.folder / "same", here)
    wrong = [] if anew.wait() == 2 else ["its checkpoints were overwritten"]
    again = trained(bench.folder / "same", here, f"ckpt={run}/checkpoints/last.ckpt")
    wrong += [again.text] if again.wait() else differences(bench.reference, [run])
    yield Outcome("a killed run's folder again", f"{lost} iterations", anew.line("error:"), wrong)


def requeued(bench: Bench) -> Iterator[Outcome]:
    """A job of SLURM is stopped, and started again by the same command in the same folder."""
    here = f"hydra.run.dir={bench.folder}/requeued/train/runs/slurm-1"
    bench.stopped("requeued", here, happening("terminate", 11), status=143)
    lost = 11 - bench.step("requeued")
    again = trained(bench.folder / "requeued", here, before=queued_again)
    wrong = [again.text] if again.wait() else differences(bench.reference, runs(bench.folder / "requeued"))
    yield Outcome(
        "SLURM job queued again", f"{lost} iterations" if lost else NOTHING, again.line("SLURM requeued"), wrong
    )


def clock(bench: Bench) -> Iterator[Outcome]:
    """The first run's files are of the future; the second's clock runs backwards; the third follows the second."""
    bench.stopped("clock", happening("kill", 9), status=-signal.SIGKILL)
    later = time.time() + 10**7
    for path in (bench.folder / "clock").rglob("last.ckpt*"):
        os.utime(path, (later, later))
    bench.stopped("clock", "ckpt=last", happening("terminate", 17), status=143, before=clock_backwards)
    lost = 17 - bench.step("clock")
    command, wrong = bench.gone_on("clock", before=clock_backwards)
    said = command.line("ckpt=last is")
    yield Outcome("clock set back, then running backwards", f"{lost} iterations" if lost else NOTHING, said, wrong)
