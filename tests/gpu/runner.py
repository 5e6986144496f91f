"""Run the parts, each in a process of its own with a time limit."""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tests import commands
from tests.gpu.figures import Figure, Setting, read_figures


class Part(NamedTuple):
    """A part of the run: "MODULE:FUNCTION", which yields figures, and its time limit in seconds."""

    function: str
    limit: int


PARTS = {
    "steps": Part("tests.gpu.training:measure_steps", 105),
    "runs": Part("tests.gpu.training:measure_runs", 60),
    "exactness": Part("tests.gpu.exactness:check_exactness", 110),
    "distributed": Part("tests.gpu.distributed:check_distributed", 45),
    "validation": Part("tests.gpu.inference:measure_validation", 70),
    "crf": Part("tests.gpu.inference:measure_crf", 30),
    "commands": Part("tests.gpu.commands:check_commands", 55),
}  # 475 seconds


def run_parts(names: Sequence[str], device: str, small: bool) -> Iterator[list[Figure]]:
    """Run parts one after the other; yield all figures so far after each of them."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            start = time.monotonic()
            setting = Setting(device, small, Path(folder, name))
            found = run_part(name, PARTS[name], setting)
            figures += found
            if any(figure.name == "failed" for figure in found):
                print(Path(folder, f"{name}.txt").read_text()[-4000:], file=sys.stderr)
            figures.append(Figure(name, "the part took", time.monotonic() - start, "s"))
            shutil.rmtree(setting.folder, ignore_errors=True)  # checkpoints of a network at full width are large
            yield figures


def run_part(name: str, part: Part, setting: Setting) -> list[Figure]:
    """Run a part in a process of its own, and return its figures, with one more if it failed or took too long."""
    setting.folder.mkdir(parents=True)
    file = setting.folder.with_name(f"{name}.jsonl")
    process = commands.FORKS.Process(target=perform_part, args=(name, part.function, setting, file))
    process.start()
    process.join(part.limit)
    if process.is_alive():
        process.kill()
        process.join()
        return [*read_figures(file), Figure(name, "failed", f"took more than {part.limit} s", ok=False)]
    figures = read_figures(file)
    if process.exitcode:
        figures.append(Figure(name, "failed", f"ended with exit status {process.exitcode}", ok=False))
    return figures


def perform_part(name: str, function: str, setting: Setting, file: Path) -> None:
    """Run a part in this process; write each figure as soon as it is found, and an error as a figure."""
    log = os.open(file.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)  # tables of parameters, warnings, ...
    os.dup2(log, 2)
    # A process forked from this one must not delete its temporary folders, as it would at its exit.
    os.register_at_fork(after_in_child=atexit._clear)
    multiprocessing.set_start_method(None, force=True)  # type: ignore[arg-type]  # the default again, for data workers
    commands.FORKS = multiprocessing.get_context("fork")  # type: ignore[assignment]  # as much is imported here already
    module, _, attribute = function.partition(":")
    with file.open("a", buffering=1) as out:
        try:
            part: Callable[[Setting], Iterator[Figure]] = getattr(import_module(module), attribute)
            for figure in part(setting):
                out.write(json.dumps(figure) + "\n")
        except BaseException as error:
            traceback.print_exc()
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            out.write(json.dumps(Figure(name, "failed", reason, ok=False)) + "\n")


def find_machine() -> tuple[str, str]:
    """Return the device, cuda or cpu, and a line about it, the processor and the versions.

    It is found in another process: this one must not touch the GPU, so that others can be forked.
    """
    with commands.FORKS.Pool(1) as pool:
        return pool.apply(describe_machine)


def describe_machine() -> tuple[str, str]:
    import torch

    from src.runs.provenance import installed_versions, run_git
    from src.system.hardware import processor_name
    from src.system.processes import cores

    on_gpu = torch.cuda.is_available()
    versions = [f"{name} {installed_versions().get(name)}" for name in ("torch", "lightning", "triton")]
    words = [
        torch.cuda.get_device_name() if on_gpu else "no GPU",
        f"{processor_name()}, {cores()} cores, Python {platform.python_version()}",
        *versions,
        f"commit {run_git('rev-parse', '--short', 'HEAD')}",
    ]
    return ("cuda" if on_gpu else "cpu"), ", ".join(words)
