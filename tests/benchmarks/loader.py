"""Measure the images per second of the loader and of a training step: python -m tests.benchmarks.loader.

CamVid's training images (480x360), crops of 321. All ways of loading take turns, so that changes in the
machine's speed affect both sides of each ratio; medians over the rounds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from src.data import CamVid, train_transform
from src.system.processes import cores
from src.training.datamodule import AugmentedSamples, SegmentationDataModule
from tests.benchmarks.training import CROP, seconds, step
from tests.crf.samples import data_folder

BATCH = 8
SAMPLES = 100  # for the cost of one sample


def module(root: str, cache: str | None, workers: int, scale: tuple[float, float] | None) -> SegmentationDataModule:
    datamodule = SegmentationDataModule(
        partial(CamVid, root=root, cache=cache), train_transform(CROP, scale), BATCH, workers
    )
    datamodule.setup("fit")
    return datamodule


def milliseconds(function: Callable[[int], object]) -> float:
    """Return the processor time of one sample in milliseconds; the first round is a warm-up."""
    for index in range(SAMPLES):
        function(index)
    start = time.process_time()
    for index in range(SAMPLES):
        function(index)
    return (time.process_time() - start) / SAMPLES * 1000


def rate(loader: DataLoader) -> float:
    """Return the images per second over an epoch."""
    start = time.perf_counter()
    images = sum(len(batch["label"]) for batch in loader)
    return images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=str(data_folder() / "camvid"), help="CamVid's folder")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        packed = module(options.root, folder, cores(), None)
        console.print(
            f"packing {len(packed.train_set) + len(packed.val_set)} images: {time.perf_counter() - start:.1f} s"
        )
        files = module(options.root, None, 0, None)
        jitter = train_transform(CROP, (0.5, 1.5))
        table = Table(title="One sample on one core", title_justify="left")
        for column in ("", "ms"):
            table.add_column(column, justify="right" if column else "left")
        for name, function in {
            "read from JPEG and PNG": files.train_set.__getitem__,
            "read from the cache": packed.train_set.__getitem__,
            "files, crop and mirror": AugmentedSamples(files.train_set, files.augmentation).__getitem__,
            "cache, crop and mirror": AugmentedSamples(packed.train_set, packed.augmentation).__getitem__,
            "files, scale, crop and mirror": AugmentedSamples(files.train_set, jitter).__getitem__,
            "cache, scale, crop and mirror": AugmentedSamples(packed.train_set, jitter).__getitem__,
        }.items():
            table.add_row(name, f"{milliseconds(function):.2f}")
        console.print(table)

        loaders = {
            (workers, scale, source): module(options.root, cache, workers, scale).train_dataloader()
            for workers in range(1, cores() + 1)
            for scale in (None, (0.5, 1.5))
            for source, cache in (("files", None), ("cache", folder))
        }
        rounds = [{key: rate(loader) for key, loader in loaders.items()} for _ in range(options.rounds + 1)][1:]
        medians = {key: statistics.median(found[key] for found in rounds) for key in loaders}
        table = Table(title="Loader, images a second", title_justify="left")
        for column in ("workers", "augmentation", "files", "cache"):
            table.add_column(column, justify="left" if column == "augmentation" else "right")
        for workers, scale, source in loaders:
            if source == "files":
                name = "scale, crop and mirror" if scale else "crop and mirror"
                values = (f"{medians[workers, scale, source]:.0f}" for source in ("files", "cache"))
                table.add_row(str(workers), name, *values)
        console.print(table)

    run = step(0.25, BATCH, ours=True)
    taken = BATCH / statistics.median([seconds(run) for _ in range(options.rounds + 1)][1:])
    slowest = medians[1, (0.5, 1.5), "files"]
    console.print(f"A training step of the slim network on this processor takes {taken:.1f} images a second, and one "
                  f"worker gives {slowest / taken:.0f} times as many. A device that takes N a second wants "
                  f"N / {slowest:.0f} workers, with the cache N / {medians[1, (0.5, 1.5), 'cache']:.0f}.")  # fmt: skip


if __name__ == "__main__":
    main()
