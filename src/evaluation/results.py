"""What an evaluation leaves behind: JSON, CSV and plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.drawing.plots import confusion_figure, trimap_figure
from src.runs.record import write_csv
from src.training.validation import METHODS, Results, has_trimap


def write_tables(folder: Path, results: Results, classes: Sequence[str]) -> None:
    """classes.csv, trimap.csv and a confusion matrix for each method: pixels, a row for every true class."""
    pixels = next(iter(results.values()))["confusion"].sum(1).tolist()
    columns: dict[str, Any] = {"class": classes, "pixels": pixels}
    for suffix, values in results.items():
        columns |= {f"{name}{suffix}": values[name].tolist() for name in ("iou", "accuracy")}
    write_csv(folder / "classes.csv", columns)

    columns = {"width": range(1, len(next(iter(results.values()))["trimap_miou"]) + 1)}
    for suffix, values in results.items():
        columns |= {f"{n}{suffix}": values[f"trimap_{n}"].tolist() for n in ("miou", "pixel_accuracy")}
    write_csv(folder / "trimap.csv", columns)

    for suffix, values in results.items():
        counts = values["confusion"].T.tolist()
        write_csv(folder / f"confusion{suffix}.csv", {"truth": classes, **dict(zip(classes, counts, strict=True))})


def draw(folder: Path, results: Results, classes: Sequence[str]) -> None:
    """trimap.png, where the data set has void pixels, and a confusion matrix for each method."""

    curves: dict[str, dict[str, np.ndarray]] = {
        name: {METHODS[suffix]: values[f"trimap_{name}"].numpy() for suffix, values in results.items()}
        for name in ("miou", "pixel_accuracy")
    }
    if has_trimap(results):
        trimap_figure(**curves).savefig(folder / "trimap.png", dpi=150)
    for suffix, values in results.items():
        figure = confusion_figure(values["confusion"].numpy(), classes, METHODS[suffix])
        figure.savefig(folder / f"confusion{suffix}.png", dpi=110)
