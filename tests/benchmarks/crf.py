"""Dense CRF engines against pydensecrf, in one run: python -m tests.benchmarks.crf.

python -m tests.benchmarks.crf [--rounds 5] [--checkpoint CKPT] [--markdown FILE]

Settings A (sxy 67, srgb 3) and B (sxy 80, srgb 10), both with w1 4, w2 3, sg 3 and 10 iterations. The images are VOC
images at 500x375 with synthetic stride-8 scores of 21 classes and, with --checkpoint, CamVid images with the scores of
that network. Every round runs every engine once, one after the other. Ratios compare the best rounds, as timeit does,
because other work on the machine only ever adds time. Medians are printed beside them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.crf.engines import native_engine
from src.crf.engines.torch_engine import build_kernels
from src.crf.inputs import upsample
from src.prediction.trained_network import load_network
from tests.crf.samples import data_folder, network_like_scores, read_image

SETTINGS = {"A": {"sxy": 67, "srgb": 3}, "B": {"sxy": 80, "srgb": 10}}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Case:
    """Images with score maps of a network."""

    name: str
    images: list[Tensor]
    score_maps: list[Tensor]

    def logits(self) -> list[Tensor]:
        return [upsample(s, (i.shape[1], i.shape[2]), 8) for i, s in zip(self.images, self.score_maps, strict=True)]


@dataclass
class Contestant:
    """An engine to measure: ``run`` takes images, score maps and logits, and returns Q or labels of every image."""

    name: str
    engine: str
    prune: float = 0.0
    threads: int = 1
    pool: int = 0  # workers; 0: one image after the other
    labels: bool = False

    def crf(self, setting: str) -> DenseCRF:
        return DenseCRF(w1=4, **SETTINGS[setting], w2=3, sg=3, prune=self.prune, engine=self.engine)

    def prepare(self, setting: str, stack: list[RefinementPool]) -> Callable[[Case, list[Tensor]], list[Tensor]]:
        crf = self.crf(setting)
        if not self.pool:
            if self.labels:
                return lambda case, _: [
                    crf.refine_labels(i, s, threads=self.threads)
                    for i, s in zip(case.images, case.score_maps, strict=True)
                ]
            return lambda case, logits: [
                crf(i, logits=s, threads=self.threads) for i, s in zip(case.images, logits, strict=True)
            ]
        pool = RefinementPool(crf, self.pool)
        stack.append(pool)

        def run(case: Case, logits: list[Tensor]) -> list[Tensor]:
            if self.labels:
                futures = [pool.refine_labels(i, s) for i, s in zip(case.images, case.score_maps, strict=True)]
            else:
                futures = [pool.submit(i, logits=s) for i, s in zip(case.images, logits, strict=True)]
            return [future.result() for future in futures]

        return run


def contestants() -> list[Contestant]:
    found = [
        Contestant("pydensecrf, 1 thread", "pydensecrf"),
        Contestant(f"pydensecrf, {CORES} processes", "pydensecrf", pool=CORES, labels=True),
    ]
    if native_engine.missing_reason() is None:
        found += [
            Contestant("native exact, 1 thread", "native"),
            Contestant(f"native exact, {CORES} threads an image", "native", threads=CORES),
            Contestant(f"native exact, an image a thread ({CORES})", "native", pool=CORES),
            Contestant("native pruned labels, 1 thread", "native", prune=0.01, labels=True),
            Contestant(f"native pruned labels, {CORES} threads an image", "native", 0.01, threads=CORES, labels=True),
            Contestant(f"native pruned labels, an image a thread ({CORES})", "native", 0.01, pool=CORES, labels=True),
        ]
    return [*found, Contestant(f"torch exact, {torch.get_num_threads()} threads", "torch")]


def synthetic_case(count: int) -> Case:
    paths = sorted((data_folder() / "voc2012_mini" / "JPEGImages").glob("*.jpg"))
    if not paths:
        raise SystemExit(f"no VOC images under {data_folder()}: set DEEPLAB_DATA to the folder of the data sets")
    images = [read_image(paths[i % len(paths)], (375, 500)) for i in range(count)]
    return Case("synthetic scores", images, [network_like_scores((375, 500), 21, seed=i) for i in range(count)])


def trained_case(checkpoint: str, count: int) -> Case:
    network = load_network(checkpoint).model
    paths = sorted((data_folder() / "camvid" / "val").glob("*"))
    images = [read_image(path) for path in paths[:: max(1, len(paths) // count)][:count]]
    with torch.no_grad():
        return Case("camvid network", images, [network(image[None])[0].float() for image in images])


def copy_bandwidth() -> float:
    """Return the bytes per second, read and written, of one large copy with all threads."""
    source, target = torch.zeros(64 << 20), torch.zeros(64 << 20)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        target.copy_(source)
        times.append(time.perf_counter() - begin)
    return 2 * source.nbytes / min(times)


def bytes_moved(case: Case, setting: str, classes: int, iterations: int = 10) -> float:
    """Return the bytes that the fused iterations read and write for one image if nothing stays in a cache.

    For every pixel these are its nine corners and weights and its unary terms; for every vertex six blurs in place,
    and a sum that is cleared, written and read.
    """
    image, lanes = case.images[0], -(-classes // 8) * 8
    bilateral, gaussian = build_kernels(image[None], Contestant("", "torch").crf(setting).parameters, (1, 1))
    pixels = image[0].numel() * (9 * 8 + 4 * lanes + 4)
    vertices = (bilateral.vertices * (6 * 2 + 3) + gaussian.vertices * (3 * 2 + 3)) * 4 * lanes
    return float(iterations * (pixels + vertices))


def peak_memory(contestant: Contestant, setting: str, case: Case) -> float:
    """Return the megabytes that one image adds to a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        one = Case(case.name, case.images[:1], case.score_maps[:1])
        return fresh.apply(_peak, (contestant, setting, one))


def _peak(contestant: Contestant, setting: str, case: Case) -> float:
    torch.set_num_threads(1)
    crf, logits = contestant.crf(setting), case.logits()
    tiny = case.images[0][:, :9, :9]
    crf.refine_labels(tiny, case.score_maps[0])  # what the libraries take once
    before = _reset_peak()
    if contestant.labels:
        crf.refine_labels(case.images[0], case.score_maps[0])
    else:
        crf(case.images[0], logits=logits[0])
    return _memory("VmHWM") - before


def _reset_peak() -> float:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return float("nan")
    return _memory("VmRSS")


def _memory(field: str) -> float:
    """Return megabytes from Linux's account of this process; NaN on other systems."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def bench(case: Case, setting: str, rounds: int, bandwidth: float) -> Table:
    every, pools = contestants(), []
    runs = {c.name: c.prepare(setting, pools) for c in every}
    logits = case.logits()
    times: dict[str, list[float]] = {c.name: [] for c in every}
    results = {name: run(case, logits) for name, run in runs.items()}  # a first round that does not count
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            run(case, logits)
            times[name].append((time.perf_counter() - begin) / len(case.images))
    for pool in pools:
        pool.close()

    one, many = every[0].name, every[1].name
    title = f"{case.name}, setting {setting}, {len(case.images)} images"
    table = Table("engine", "ms / image", "median", "x pydensecrf", f"x {CORES} processes", "labels equal", "max |dQ|",
                  "peak MB", "bandwidth", title=title)  # fmt: skip
    reference = results[one]
    moved = bytes_moved(case, setting, len(logits[0]))
    for contestant in every:
        name = contestant.name
        found = results[name]
        labels = [q if q.ndim == 2 else q.argmax(0) for q in found]
        differ = sum(int((a != b.argmax(0)).sum()) for a, b in zip(labels, reference, strict=True))
        equal = 1 - differ / sum(label.numel() for label in labels)
        change = (
            max(float((a - b).abs().max()) for a, b in zip(found, reference, strict=True))
            if found[0].ndim == 3
            else None
        )
        exact_native = contestant.engine == "native" and not contestant.prune
        best = min(times[name])
        share = moved / best / bandwidth
        table.add_row(
            name,
            f"{1000 * best:.1f}",
            f"{1000 * statistics.median(times[name]):.1f}",
            f"{min(times[one]) / best:.1f}",
            f"{min(times[many]) / best:.1f}",
            f"{100 * equal:.4f} %",
            "" if change is None else f"{change:.1e}",
            "" if contestant.pool else f"{peak_memory(contestant, setting, case):.0f}",
            f"{100 * share:.0f} %" if exact_native else "",
        )
    return table


def markdown(table: Table) -> str:
    columns = [list(column.cells) for column in table.columns]
    head = [str(column.header) for column in table.columns]
    rows = [" | ".join(map(str, row)) for row in zip(*columns, strict=True)]
    rule = " | ".join(["---"] + ["---:"] * (len(head) - 1))
    return "\n".join([f"**{table.title}**", "", *(f"| {r} |" for r in (" | ".join(head), rule, *rows))]) + "\n"


def report(note: str, tables: Iterable[Table], file: Path | None) -> None:
    """Print each table as soon as it is complete, and write all of them to the file."""
    console = Console(width=140)
    console.print(note)
    parts = [note + "\n"]
    for table in tables:
        console.print(table)
        parts.append(markdown(table))
    if file:
        file.write_text("\n".join(parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=4, help="images in a round")
    parser.add_argument("--checkpoint", help="of a network trained on camvid, such as camvid_slim")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file too")
    arguments = parser.parse_args()
    try:
        DenseCRF(engine="pydensecrf")
    except ImportError as error:
        raise SystemExit(str(error)) from None

    bandwidth = copy_bandwidth()
    level = native_engine.level() if native_engine.missing_reason() is None else "not built"
    note = f"{CORES} cores, copy bandwidth {bandwidth / 1e9:.1f} GB/s, native kernels: {level}"
    cases = [synthetic_case(arguments.images)]
    if arguments.checkpoint:
        cases.append(trained_case(arguments.checkpoint, arguments.images))
    tables = (bench(case, setting, arguments.rounds, bandwidth) for case in cases for setting in SETTINGS)
    report(note, tables, arguments.markdown)


if __name__ == "__main__":
    main()
