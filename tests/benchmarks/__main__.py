"""All benchmarks in one table, each against its peer in the same run: python -m tests.benchmarks

    python -m tests.benchmarks [--json FILE] [--only training,crf] [--rounds 5] [--checkpoint PATH]
    python -m tests.benchmarks --compare BEFORE.json AFTER.json

Ours and the peer take turns, and the ratio is the median over the rounds: above 1, ours is faster. The limit of a
network is what this machine computes in one large matrix product of the same precision; the limit of the exact CRF is
the memory's bandwidth in one large copy. The modules of this folder measure each subject in more detail.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from src.crf.engines import native_engine
from src.system.hardware import auto_precision, processor_name
from src.system.processes import cores
from tests.benchmarks import crf, prediction, training
from tests.crf.samples import data_folder

REPO = Path(__file__).parents[2]


class Row(NamedTuple):
    """One comparison: seconds of one image, or of one start of a command."""

    work: str
    ours: float
    peer: str
    theirs: float | None = None
    ratio: float | None = None
    limit: str = ""
    share: float | None = None  # of the limit that ours reaches


def in_turns(ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Return the median seconds of both, and the median of their ratios; the first round is a warm-up."""
    pairs = [(training.seconds(ours), training.seconds(peer)) for _ in range(rounds + 1)][1:]
    a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
    return a, b, statistics.median(theirs / own for own, theirs in pairs)


def peak_flops(precision: str, device: str = "cpu", side: int = 2048) -> float:
    """Return the floating-point operations per second of a large matrix product on all cores, or on the GPU."""
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    a = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / min(training.seconds(lambda: a @ a) for _ in range(8))


def training_rows(rounds: int) -> Iterator[Row]:
    """Yield training steps at crop 321 against the plain loop of torchvision's and smp's examples."""
    precision = auto_precision("cpu")[0]
    peak = peak_flops(precision)
    for name, width, batch in (("slim", 0.25, 8), ("full width", 1.0, 2)):
        ours, theirs = training.step(width, batch, ours=True), training.step(width, batch, ours=False)
        a, b, ratio = in_turns(ours, theirs, rounds)
        with FlopCounterMode(display=False) as counter:
            ours()
        yield Row(
            f"training step, {name}, {precision}", a / batch, "float32, contiguous, loss on the image", b / batch,
            ratio, f"{peak / 1e9:.0f} GFLOP/s", counter.get_total_flops() / a / peak,
        )  # fmt: skip


def prediction_rows(rounds: int) -> Iterator[Row]:
    """Yield python -m src.predict against plain loops over the exported network."""
    precision = auto_precision("cpu")[0]
    for peer, own, theirs, ratio in prediction.compare_engines(rounds=rounds, precision=precision):
        yield Row(f"predict, slim, {precision}, files to PNG", own, f"{peer}, plain loop", theirs, ratio)


def crf_rows(rounds: int) -> Iterator[Row]:
    """Yield the native CRF on all cores against pydensecrf, which has one."""
    case, bandwidth = crf.synthetic_case(4), crf.copy_bandwidth()
    logits, count = case.logits(), len(case.images)
    for setting in crf.SETTINGS:
        peer = crf.Contestant("", "pydensecrf").prepare(setting, [])
        for name, prune in (("exact", 0.0), ("pruned labels", 0.01)):
            contestant = crf.Contestant("", "native", prune, threads=crf.CORES, labels=prune > 0)
            run = contestant.prepare(setting, [])
            a, b, ratio = in_turns(lambda run=run: run(case, logits), lambda peer=peer: peer(case, logits), rounds)
            share = crf.bytes_moved(case, setting, len(logits[0])) / (a / count) / bandwidth
            values = ", ".join(f"{key} {value}" for key, value in crf.SETTINGS[setting].items())
            yield Row(
                f"CRF, {name}, {values}", a / count, "pydensecrf", b / count, ratio,
                "" if prune else f"{bandwidth / 1e9:.0f} GB/s", None if prune else share,
            )  # fmt: skip


def start_rows(rounds: int) -> Iterator[Row]:
    """Yield how long a command takes to show its help, and to name a mistyped key."""
    for name, arguments in (("--help", ["--help"]), ("a mistyped key", ["head.rat=3"])):
        command = [sys.executable, "-m", "src.train", *arguments]
        times = [
            training.seconds(lambda command=command: subprocess.run(command, cwd=REPO, capture_output=True))
            for _ in range(rounds)
        ]
        yield Row(f"src.train, {name}", statistics.median(times), "")


SUBJECTS = {"training": training_rows, "predict": prediction_rows, "crf": crf_rows, "start": start_rows}


def as_table(rows: list[Row], title: str) -> Table:
    """Return the rows as a table, in milliseconds."""
    table = Table(title=title, title_justify="left")
    for column in ("work", "ours, ms", "peer", "peer, ms", "ratio", "limit", "reached"):
        table.add_column(column, justify="left" if column in ("work", "peer", "limit") else "right")
    for row in rows:
        table.add_row(
            row.work, f"{1000 * row.ours:.1f}", row.peer, f"{1000 * row.theirs:.1f}" if row.theirs else "",
            f"{row.ratio:.2f}" if row.ratio else "", row.limit, f"{100 * row.share:.0f} %" if row.share else "",
        )  # fmt: skip
    return table


def compare(before: Path, after: Path) -> Table:
    """Return how the rows of two runs differ; the ratios to a peer cancel most of what the machine did meanwhile."""
    old, new = (
        {row["work"] + row["peer"]: row for row in json.loads(path.read_text())["rows"]} for path in (before, after)
    )
    table = Table(title=f"{before} and {after}", title_justify="left")
    for column in ("work", "peer", "before, ms", "after, ms", "times as fast", "ratio before", "ratio after"):
        table.add_column(column, justify="left" if column in ("work", "peer") else "right")
    for key in [key for key in new if key in old]:
        a, b = old[key], new[key]
        ratios = [f"{row['ratio']:.2f}" if row["ratio"] else "" for row in (a, b)]
        times = (f"{1000 * a['ours']:.1f}", f"{1000 * b['ours']:.1f}", f"{a['ours'] / b['ours']:.2f}")
        table.add_row(b["work"], b["peer"], *times, *ratios)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--only", default=",".join(SUBJECTS), help=f"subjects: {', '.join(SUBJECTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="files of --json")
    options = parser.parse_args()
    console = Console(width=150 if not sys.stdout.isatty() else None)
    if options.compare:
        console.print(compare(*options.compare))
        return
    if unknown := set(options.only.split(",")) - set(SUBJECTS):
        parser.error(f"--only {','.join(sorted(unknown))}: choose from {', '.join(SUBJECTS)}")
    if not (data_folder() / "voc2012_mini").is_dir():
        raise SystemExit(f"no images under {data_folder()}: set DEEPLAB_DATA to a folder with voc2012_mini and camvid")

    torch.set_num_threads(cores())
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPO, capture_output=True, text=True).stdout
    level = native_engine.level() if native_engine.missing_reason() is None else "not built"
    machine = f"{processor_name()}, {cores()} cores, CRF kernels: {level}, commit {revision.strip()}"
    rows: list[Row] = []
    for subject in options.only.split(","):
        with contextlib.redirect_stdout(io.StringIO()):
            rows += SUBJECTS[subject](options.rounds)
        if options.json:
            content = {"machine": machine, "rows": [row._asdict() for row in rows]}
            options.json.write_text(json.dumps(content, indent=1) + "\n")
    console.print(as_table(rows, machine))


if __name__ == "__main__":
    main()
