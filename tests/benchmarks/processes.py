"""Training steps in one and in two processes on the CPU: python -m tests.benchmarks.processes.

The same global batch is trained in one process with one thread and with two, and in two processes (DDP over gloo) with
one thread each. They take turns, so that changes in the machine's speed affect all of them. The images are in memory,
so that only steps are measured, from the end of one to the end of the next, without the first ones.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import Any

WAYS = ((1, 1), (1, 2), (2, 1))  # processes, threads of each
BATCH, CROP, STEPS, WARM_UP, ROUNDS = 8, 225, 10, 3, 2


def train(processes: int) -> None:
    """Run a short training; its first process prints a line of JSON: images per step, over all processes, and seconds
    per step.
    """
    import lightning as L
    import torch
    from omegaconf import OmegaConf

    from src.data import Shapes, train_transform
    from src.training.datamodule import SegmentationDataModule
    from src.training.segmenter import Segmenter
    from src.training.trainer import build_trainer
    from tests.models.networks import composed

    class InMemory(Shapes):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.drawn = [super(InMemory, self).__getitem__(index) for index in range(len(self))]

        def __getitem__(self, index: int) -> Any:
            return self.drawn[index]

    class Watch(L.Callback):
        ends: list[float]
        images: int

        def on_train_start(self, *_: Any) -> None:
            self.ends = []

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
            self.ends.append(time.perf_counter())
            self.images = len(batch["id"]) * trainer.world_size

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    config = composed("trainer=cpu" if processes == 1 else "trainer=ddp_cpu", f"trainer.max_steps={STEPS}")
    parts = {key: OmegaConf.to_container(config[key]) for key in Segmenter.CONFIGS}
    segmenter = Segmenter(**parts, classes=list(Shapes.classes), palette=Shapes.palette.tolist())
    data = partial(InMemory, samples={"train": 2 * BATCH, "val": 2}, size=CROP)
    watch = Watch()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "limit_val_batches": 0}
    trainer = build_trainer(config.trainer, callbacks=[watch], **quiet)
    trainer.fit(segmenter, SegmentationDataModule(data, train_transform(CROP), BATCH, num_workers=0))
    seconds = [after - before for before, after in zip(watch.ends, watch.ends[1:], strict=False)][WARM_UP:]
    if trainer.is_global_zero:
        print(json.dumps({"images": watch.images, "seconds": statistics.median(seconds)}))


def measured(processes: int, threads: int) -> dict[str, float]:
    """Run ``train`` in a process of its own, and return what it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "tests.benchmarks.processes", "--processes", str(processes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--processes", type=int, help=argparse.SUPPRESS)  # what the benchmark starts
    options = parser.parse_args()
    if options.processes:
        train(options.processes)
        return

    from rich.console import Console
    from rich.table import Table

    from src.system.hardware import auto_precision

    rounds = [[measured(*way) for way in WAYS] for _ in range(options.rounds)]
    table = Table(title=f"slim network, crop {CROP}, {auto_precision('cpu')[0]}", title_justify="left")
    for column in ("processes", "threads each", "images a step", "ms a step", "times one thread", "efficiency"):
        table.add_column(column, justify="right")
    for index, (processes, threads) in enumerate(WAYS):
        ways = [one[index] for one in rounds]
        ratio = statistics.median(one[0]["seconds"] / one[index]["seconds"] for one in rounds)
        share = ratio / (processes * threads)
        cells = (
            f"{1000 * statistics.median(way['seconds'] for way in ways):.0f}",
            f"{ratio:.2f}",
            f"{100 * share:.0f} %",
        )
        table.add_row(str(processes), str(threads), f"{ways[0]['images']:.0f}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
