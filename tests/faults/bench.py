"""The uninterrupted training, and what is asked of every other."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from src.runs.checkpoint_files import find_fault
from tests.faults.commands import Logged, content, differences, runs, trained


class Outcome(NamedTuple):
    """A row of the table."""

    fault: str
    lost: str
    said: str
    wrong: list[str]


class Bench:
    """A folder for everything, and the uninterrupted training to compare with.

    Args:
        kills: moments at which the training is killed.
    """

    def __init__(self, folder: Path, kills: int = 20) -> None:
        self.folder = folder
        self.kills = kills
        self.random = random.Random(0)
        duration = folder / "seconds"
        timer = f"+callbacks.time={{_target_:tests.faults.accidents.TimeTraining,path:{duration}}}"
        whole = trained(folder / "whole", timer)
        if whole.wait():
            raise RuntimeError(whole.text)
        (self.reference,) = runs(folder / "whole")
        self.seconds = float(duration.read_text())
        self.size = (self.reference / "checkpoints" / "last.ckpt").stat().st_size

    def stopped(
        self, name: str, *overrides: str, status: int | None = None, before: Callable[[], None] | None = None
    ) -> Logged:
        """A training that is to end with a status."""
        command = trained(self.folder / name, *overrides, before=before)
        if command.wait() != status and status is not None:
            raise RuntimeError(f"exit status {command.process.exitcode}, not {status}:\n{command.text}")
        return command

    def gone_on(self, name: str, *overrides: str, before: Callable[[], None] | None = None) -> tuple[Logged, list[str]]:
        """The training resumed (``ckpt=last``, or begun anew where nothing was there), and what is wrong with it."""
        folder = self.folder / name
        there = [path for path in folder.rglob("last.ckpt*") if path.suffix != ".part"]
        command = trained(folder, *(["ckpt=last"] if there else []), *overrides, before=before)
        if status := command.wait():
            return command, [f"exit status {status}: {command.text}"]
        return command, differences(self.reference, runs(folder))

    def step(self, name: str) -> int:
        """Of the newest intact checkpoint; 0 where there is none."""
        intact = [path for path in (self.folder / name).rglob("last.ckpt*") if not find_fault(path)]
        return max((content(path)["global_step"] for path in intact), default=0)

    def short(self, line: str) -> str:
        """Without the folders, which differ from run to run, and the process numbers."""
        line = re.sub(rf"{re.escape(str(self.folder))}/\w+/train/runs/[^/ ]+/[^/ :;,]+", "RUN", line)
        line = re.sub(rf"{re.escape(str(self.folder))}/\w+", "LOGS", line)
        return re.sub(r"\bprocess \d+( on [\w.-]+)?", "process N", line)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[..., None]]:
    """A file system of so many bytes in memory; gives what changes its options. Needs root.

    Raises:
        PermissionError: if none can be mounted.
    """
    folder.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:
        raise PermissionError("cannot mount a tmpfs")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
