"""Signals that ask to stop, to one process or to all of its group,, in the midst of everything that takes long."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.faults.accidents import SignalInCall, happening
from tests.faults.bench import Bench, Outcome
from tests.faults.commands import EVERY, SHAPES, TRAINING, VALIDATION, Logged, differences, runs

KINDS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
ALL = ", ".join(KINDS)
STEP = "src.training.segmenter:Segmenter.training_step"
VALIDATE = "src.training.segmenter:Segmenter.validation_step"
REFINE = "src.crf.dense_crf:DenseCRF.refine"
WRITE = "torch:save"
TIMES = re.compile(rb".*(seconds|minutes).*")  # lines of metrics.json that differ from run to run


def in_training(bench: Bench) -> Iterator[Outcome]:
    """Of every kind; each run goes on and is compared."""
    within = {  # the accident; the step of the checkpoint that it leaves
        f"{ALL} in a step": (lambda kind: SignalInCall(STEP, 11, kind), 11),
        "the same to the whole group": (lambda kind: SignalInCall(STEP, 11, kind, group=True), 11),
        "the same twice at once, as timeout(1) sends it": (lambda kind: SignalInCall(STEP, 11, kind, twice=True), 11),
        "the same in a validation": (lambda kind: SignalInCall(VALIDATE, 3, kind), VALIDATION),
        "the same in the CRF": (lambda kind: SignalInCall(REFINE, 2, kind), VALIDATION),
        "the same while a checkpoint is written": (lambda kind: SignalInCall(WRITE, 3, kind), 3 * EVERY),
    }
    for fault, (accident, step) in within.items():
        wrong, said = [], ""
        for kind in KINDS:
            name = f"{kind}_{list(within).index(fault)}"
            workers = ["data.num_workers=2"] if "group" in fault else []
            command = bench.stopped(name, *workers, status=status_of(kind), before=accident(kind))
            said = said or command.line(" at step ")
            if bench.step(name) != step:
                wrong.append(f"{kind}: a checkpoint of step {bench.step(name)}")
            wrong += [f"{kind}: {difference}" for difference in bench.gone_on(name)[1]]
        lost = {VALIDATION: "the validation, which is repeated"}.get(step, "nothing")
        yield Outcome(fault, lost, said, wrong)
    wrong = []
    for kind in KINDS:
        name = f"{kind}_worker"
        command = bench.stopped(name, "data.num_workers=2", happening(f"send {kind} to worker", 11), status=0)
        differing = differences(bench.reference, runs(bench.folder / name))
        wrong += [f"{kind}: {difference}" for difference in differing]
        said = command.line("step     24")
    yield Outcome("the same to a data worker", "nothing: training goes on", said, wrong)


def in_multirun(bench: Bench) -> Iterator[Outcome]:
    """In the second of two jobs; the same command does what is not done."""
    wrong, said = [], ""
    for kind in KINDS:
        folder = bench.folder / f"{kind}_multirun"
        where = f"hydra.sweep.dir={folder}/sweep"
        steps = 24 + 11
        for accident, status in ((SignalInCall(STEP, steps, kind, group=True), status_of(kind)), (None, 0)):
            command = Logged("train", folder, "-m", *TRAINING, *SHAPES, "seed=1,0", where, before=accident)
            if (ended := command.wait()) != status:
                wrong.append(f"{kind}: exit status {ended}: {command.text}")
            said = said or command.line(" at step ")
        jobs = [folder / "sweep" / path.name for path in sorted((folder / "sweep").glob("1_*"))]
        wrong += [f"{kind}: {difference}" for difference in differences(bench.reference, jobs)]
    yield Outcome(f"{ALL} in the second job of a multirun", "nothing", said, wrong)


def in_other_commands(bench: Bench) -> Iterator[Outcome]:
    """What they have written is whole, and the same command ends as if nothing had happened."""
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
        wrong, said = [], ""
        whole = output_of(bench, name, "whole", overrides)
        for kind in KINDS:
            accident = SignalInCall(function, call, kind, group=True)
            folder = bench.folder / f"{name}_{kind}"
            stopped = Logged(name, folder, *where(folder), *overrides, before=accident)
            if (status := stopped.wait()) != status_of(kind):
                wrong.append(f"{kind}: exit status {status}: {stopped.text}")
            if "Traceback" in stopped.text:
                wrong.append(f"{kind}: {stopped.text}")
            said = said or stopped.line("stopped by")
            if output_of(bench, name, kind, overrides) != whole:
                wrong.append(f"{kind}: other results")
        yield Outcome(f"{ALL} in {name}", "what was under way", said, wrong)


def output_of(bench: Bench, name: str, run: str, overrides: tuple[str, ...]) -> dict[str, bytes]:
    """Run a command to its end, and return the files that are its results."""
    folder = bench.folder / f"{name}_{run}"
    command = Logged(name, folder, *where(folder), *overrides)
    if command.wait():
        raise RuntimeError(command.text)
    kinds = ("metrics.json", "classes.csv", "*.png", "*.npz", "crf.yaml")
    files = [path for kind in kinds for path in (folder / "here").rglob(kind)]
    if not files:
        raise RuntimeError(f"{name}: no results in {folder}")
    contents = {path.relative_to(folder): path.read_bytes().replace(str(folder).encode(), b"") for path in files}
    return {str(path): TIMES.sub(b"", content) for path, content in contents.items()}


def where(folder: Path) -> tuple[str, ...]:
    return (f"hydra.run.dir={folder}/here",)


def status_of(kind: str) -> int:
    return 128 + signal.Signals[kind]


def write_photos(folder: Path) -> None:
    """Six small images of noise."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{number}.png")
