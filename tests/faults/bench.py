"""An uninterrupted training as the reference, and trainings that are interrupted and resumed."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from src.runs.checkpoints import find_checkpoint_fault
from tests.faults.commands import LoggedCommand, differences, read_checkpoint, run_folders, start_training


class Outcome(NamedTuple):
    """A row of the table: the fault, what was lost, the message that the user saw, and what is wrong."""

    fault: str
    lost: str
    message: str
    problems: list[str]


class Bench:
    """A folder for all runs, with an uninterrupted training as the reference.

    Args:
        kills: number of times that a training is killed.
    """

    def __init__(self, folder: Path, kills: int = 20) -> None:
        self.folder = folder
        self.kills = kills
        self.random = random.Random(0)
        duration = folder / "seconds"
        timer = f"+callbacks.time={{_target_:tests.faults.accidents.TimeTraining,path:{duration}}}"
        whole = start_training(folder / "whole", timer)
        if whole.wait():
            raise RuntimeError(whole.text)
        (self.reference,) = run_folders(folder / "whole")
        self.seconds = float(duration.read_text())
        self.size = (self.reference / "checkpoints" / "last.ckpt").stat().st_size

    def run_until_exit(
        self, name: str, *overrides: str, status: int | None = None, before: Callable[[], None] | None = None
    ) -> LoggedCommand:
        """Run a training to its end; raise ``RuntimeError`` if its exit status is not ``status``."""
        command = start_training(self.folder / name, *overrides, before=before)
        if command.wait() != status and status is not None:
            raise RuntimeError(f"exit status {command.process.exitcode}, not {status}:\n{command.text}")
        return command

    def resume(
        self, name: str, *overrides: str, before: Callable[[], None] | None = None
    ) -> tuple[LoggedCommand, list[str]]:
        """Resume a training, or begin anew if it has no checkpoint; return it and how it differs from the reference."""
        folder = self.folder / name
        checkpoints = [path for path in folder.rglob("last.ckpt*") if path.suffix != ".part"]
        command = start_training(folder, *(["ckpt=last"] if checkpoints else []), *overrides, before=before)
        if status := command.wait():
            return command, [f"exit status {status}: {command.text}"]
        return command, differences(self.reference, run_folders(folder))

    def step(self, name: str) -> int:
        """Return the step of the newest intact checkpoint; 0 if there is none."""
        intact = [path for path in (self.folder / name).rglob("last.ckpt*") if not find_checkpoint_fault(path)]
        return max((read_checkpoint(path)["global_step"] for path in intact), default=0)

    def mask_paths(self, line: str) -> str:
        """Return a line without folders and process numbers, which differ from run to run."""
        line = re.sub(rf"{re.escape(str(self.folder))}/\w+/train/runs/[^/ ]+/[^/ :;,]+", "RUN", line)
        line = re.sub(rf"{re.escape(str(self.folder))}/\w+", "LOGS", line)
        return re.sub(r"\bprocess \d+( on [\w.-]+)?", "process N", line)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[..., None]]:
    """Mount a file system of ``size`` bytes in memory; yield a function that changes its options. Needs root.

    Raises:
        PermissionError: if it cannot be mounted.
    """
    folder.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:
        raise PermissionError("cannot mount a tmpfs")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
