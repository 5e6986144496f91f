"""Get a dataset, or look at every sample of it: python -m src.prepare dataset=CHOICE [verify=true]."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.command import command
from src.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from src.data.dataset import SegmentationDataset
    from src.data.survey import Survey

log = logging.getLogger(__name__)


@command("prepare")
def main(config: DictConfig) -> None:
    if config.verify:
        verify(config)
    else:
        prepare(config)


def prepare(config: DictConfig) -> None:
    """Fetch, check and unpack what ``conf/release/`` says of the dataset."""
    # Heavy imports stand here so that --help and a mistyped override answer at once.
    from hydra.utils import instantiate

    if config.get("release") is None:
        raise UserError(
            "this dataset has no release to fetch; dataset=voc12, voc12_aug, camvid, ade20k and cityscapes have. "
            "verify=true looks at the data that is there"
        )
    instantiate(config.release).prepare(Path(config.dataset.root), Path(config.downloads))
    log.info("%s is ready; verify=true looks at every sample", config.dataset.root)


def verify(config: DictConfig) -> None:
    """Open every sample of every split; print a table of classes and every fault.

    Raises:
        UserError: if there is a fault.
    """
    from hydra.utils import instantiate
    from rich.console import Console

    from src.data.parallel import cores
    from src.data.survey import survey

    workers = cores() if config.workers == "auto" else int(config.workers)
    datasets: dict[str, SegmentationDataset] = {s: instantiate(config.dataset)(split=s) for s in config.splits}
    surveys = {split: survey(dataset, workers) for split, dataset in datasets.items()}
    console = Console()
    for split, found in surveys.items():
        console.print(f"{split}: {in_words(found)}", highlight=False, soft_wrap=True)
        console.print(class_table(found, datasets[split].classes))
    faults = list(dict.fromkeys([*(line for found in surveys.values() for line in found.lines()), *shared(datasets)]))
    for fault in faults:
        console.print(fault, style="red", highlight=False, soft_wrap=True, markup=False)
    if faults:
        bad = sum(len(found.faults) for found in surveys.values())
        total = sum(found.samples for found in surveys.values())
        raise UserError(f"{len(faults)} faults, listed above; {bad} of {total} samples cannot be used")


def class_table(found: Survey, classes: Sequence[str]) -> Table:
    """One line a class: pixels, their share, and images that hold it."""
    from rich.table import Table

    from src.data.dataset import VOID

    table = Table()
    for column in ("class", "pixels", "%", "images"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for index, name in [*enumerate(classes), (VOID, "void")]:
        if index == VOID:
            table.add_section()
        share = 100 * found.pixels[index] / max(1, found.pixels.sum())
        table.add_row(name, f"{found.pixels[index]:,}", f"{share:.2f}", f"{found.images[index]:,}")
    return table


def in_words(found: Survey) -> str:
    """How many samples, how many are good, their sizes."""
    words = f"{found.samples:,} samples, {found.samples - len(found.faults):,} good"
    if not found.sizes:
        return words
    widths, heights = ([min(side), max(side)] for side in zip(*found.sizes, strict=True))
    if len(found.sizes) == 1:
        return f"{words}, {widths[0]}x{heights[0]} pixels"
    return f"{words}, {widths[0]} to {widths[1]} pixels wide and {heights[0]} to {heights[1]} high"


def shared(datasets: Mapping[str, SegmentationDataset]) -> list[str]:
    """A line for every image that is in two splits: figures on the second would flatter the network."""
    from src.data.files import FileDataset

    owners: dict[Path, str] = {}
    lines = []
    for split, dataset in datasets.items():
        for _, image, _ in dataset.pairs if isinstance(dataset, FileDataset) else ():
            if owners.setdefault(image, split) != split:
                lines.append(f"{image}: is in {owners[image]} and in {split}")
    return lines


if __name__ == "__main__":
    main()
