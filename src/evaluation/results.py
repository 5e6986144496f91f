"""What an evaluation leaves behind: JSON, CSV and plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.drawing.plots import confusion_figure, trimap_figure
from src.runs.figures import NETWORK, column
from src.runs.record import write_csv
from src.training.validation import Results, has_trimap


def write_tables(folder: Path, results: Results, classes: Sequence[str]) -> None:
    """classes.csv, trimap.csv and a confusion matrix for each method: pixels, a row for every true class."""
    pixels = results[NETWORK]["confusion"].sum(1).tolist()
    columns: dict[str, Any] = {"class": classes, "pixels": pixels}
    for method, values in results.items():
        columns |= {column(name, method): values[name].tolist() for name in ("iou", "accuracy")}
    write_csv(folder / "classes.csv", columns)

    columns = {"width": range(1, len(results[NETWORK]["trimap_miou"]) + 1)}
    for method, values in results.items():
        columns |= {column(name, method): values[f"trimap_{name}"].tolist() for name in ("miou", "pixel_accuracy")}
    write_csv(folder / "trimap.csv", columns)

    for method, values in results.items():
        counts = zip(classes, values["confusion"].T.tolist(), strict=True)
        write_csv(folder / f"{column('confusion', method)}.csv", {"truth": classes, **dict(counts)})


def draw(folder: Path, results: Results, classes: Sequence[str]) -> None:
    """trimap.png, where the data set has void pixels, and a confusion matrix for each method."""

    curves: dict[str, dict[str, np.ndarray]] = {
        name: {method.title: values[f"trimap_{name}"].numpy() for method, values in results.items()}
        for name in ("miou", "pixel_accuracy")
    }
    if has_trimap(results):
        trimap_figure(**curves).savefig(folder / "trimap.png", dpi=150)
    for method, values in results.items():
        figure = confusion_figure(values["confusion"].numpy(), classes, method.title)
        figure.savefig(folder / f"{column('confusion', method)}.png", dpi=110)
