"""Stop signals, to one process or to its group, during everything that takes long."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.faults.accidents import SignalInCall, action_at_step
from tests.faults.bench import Bench, Outcome
from tests.faults.commands import (
    SAVE_EVERY,
    SHAPES,
    TRAINING,
    VALIDATE_EVERY,
    LoggedCommand,
    differences,
    run_folders,
)

KINDS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
ALL = ", ".join(KINDS)
STEP = "src.training.segmenter:Segmenter.training_step"
VALIDATE = "src.training.segmenter:Segmenter.validation_step"
REFINE = "src.crf.dense_crf:DenseCRF.refine_labels"
WRITE = "torch:save"
TIMES = re.compile(rb".*(seconds|minutes).*")  # lines of metrics.json that differ from run to run


def in_training(bench: Bench) -> Iterator[Outcome]:
    """Send each kind of signal; resume each run and compare it."""
    within = {  # the fault, and the step of the checkpoint that it leaves
        f"{ALL} in a step": (lambda kind: SignalInCall(STEP, 11, kind), 11),
        "the same to the whole group": (lambda kind: SignalInCall(STEP, 11, kind, group=True), 11),
        "the same twice at once, as timeout(1) sends it": (lambda kind: SignalInCall(STEP, 11, kind, twice=True), 11),
        "the same in a validation": (lambda kind: SignalInCall(VALIDATE, 3, kind), VALIDATE_EVERY),
        "the same in the CRF": (lambda kind: SignalInCall(REFINE, 2, kind), VALIDATE_EVERY),
        "the same while a checkpoint is written": (lambda kind: SignalInCall(WRITE, 3, kind), 3 * SAVE_EVERY),
    }
    for fault, (accident, step) in within.items():
        problems, message = [], ""
        for kind in KINDS:
            name = f"{kind}_{list(within).index(fault)}"
            workers = ["data.num_workers=2"] if "group" in fault else []
            command = bench.run_until_exit(name, *workers, status=status_of(kind), before=accident(kind))
            message = message or command.line(" at step ")
            if bench.step(name) != step:
                problems.append(f"{kind}: a checkpoint of step {bench.step(name)}")
            problems += [f"{kind}: {difference}" for difference in bench.resume(name)[1]]
        lost = {VALIDATE_EVERY: "the validation, which is repeated"}.get(step, "nothing")
        yield Outcome(fault, lost, message, problems)
    problems = []
    for kind in KINDS:
        name = f"{kind}_worker"
        command = bench.run_until_exit(
            name, "data.num_workers=2", action_at_step(f"send {kind} to worker", 11), status=0
        )
        differing = differences(bench.reference, run_folders(bench.folder / name))
        problems += [f"{kind}: {difference}" for difference in differing]
        message = command.line("step     24")
    yield Outcome("the same to a data worker", "nothing: training goes on", message, problems)


def in_multirun(bench: Bench) -> Iterator[Outcome]:
    """Send it in the second of two jobs; the same command runs what is not done."""
    problems, message = [], ""
    for kind in KINDS:
        folder = bench.folder / f"{kind}_multirun"
        where = f"hydra.sweep.dir={folder}/sweep"
        steps = 24 + 11
        for accident, status in ((SignalInCall(STEP, steps, kind, group=True), status_of(kind)), (None, 0)):
            command = LoggedCommand("train", folder, "-m", *TRAINING, *SHAPES, "seed=1,0", where, before=accident)
            if (ended := command.wait()) != status:
                problems.append(f"{kind}: exit status {ended}: {command.text}")
            message = message or command.line(" at step ")
        jobs = [folder / "sweep" / path.name for path in sorted((folder / "sweep").glob("1_*"))]
        problems += [f"{kind}: {difference}" for difference in differences(bench.reference, jobs)]
    yield Outcome(f"{ALL} in the second job of a multirun", "nothing", message, problems)


def in_other_commands(bench: Bench) -> Iterator[Outcome]:
    """The files written are complete, and the same command ends as if it had not been stopped."""
    checkpoint = f"ckpt={bench.reference}/checkpoints/best.ckpt"
    photos = bench.folder / "photos"
    write_photos(photos)
    commands = {
        "evaluate": ((checkpoint,), VALIDATE, 2),
        "predict": ((checkpoint, f"input={photos}", "probabilities=true"), "src.prediction.predict:finish", 3),
        "tune_crf": ((checkpoint, "name=null", "grid.sxy=[10,20]", "grid.srgb=[5]", "grid.w1=[3]", "refine=0"),
                     "src.tuning.tune:refined_confusion", 2),
    }  # fmt: skip
    for name, (overrides, function, call) in commands.items():
        problems, message = [], ""
        whole = output_of(bench, name, "whole", overrides)
        for kind in KINDS:
            accident = SignalInCall(function, call, kind, group=True)
            folder = bench.folder / f"{name}_{kind}"
            command = LoggedCommand(name, folder, *where(folder), *overrides, before=accident)
            if (status := command.wait()) != status_of(kind):
                problems.append(f"{kind}: exit status {status}: {command.text}")
            if "Traceback" in command.text:
                problems.append(f"{kind}: {command.text}")
            message = message or command.line("stopped by")
            if output_of(bench, name, kind, overrides) != whole:
                problems.append(f"{kind}: other results")
        yield Outcome(f"{ALL} in {name}", "what was under way", message, problems)


def output_of(bench: Bench, name: str, run: str, overrides: tuple[str, ...]) -> dict[str, bytes]:
    """Run a command to its end, and return the files of its results."""
    folder = bench.folder / f"{name}_{run}"
    command = LoggedCommand(name, folder, *where(folder), *overrides)
    if command.wait():
        raise RuntimeError(command.text)
    kinds = ("metrics.json", "classes.csv", "*.png", "*.npz", "crf.yaml")
    files = [path for kind in kinds for path in (folder / "here").rglob(kind)]
    if not files:
        raise RuntimeError(f"{name}: no results in {folder}")
    contents = {path.relative_to(folder): path.read_bytes().replace(str(folder).encode(), b"") for path in files}
    return {str(path): TIMES.sub(b"", read_checkpoint) for path, read_checkpoint in contents.items()}


def where(folder: Path) -> tuple[str, ...]:
    return (f"hydra.run.dir={folder}/here",)


def status_of(kind: str) -> int:
    return 128 + signal.Signals[kind]


def write_photos(folder: Path) -> None:
    """Write six small images of noise."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{number}.png")
