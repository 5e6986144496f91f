"""Write the tables and plots of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.drawing.plots import plot_confusion, plot_trimap
from src.runs.metric_files import write_csv
from src.runs.metric_names import NETWORK, column_name
from src.training.validation import Results, has_trimap


def write_tables(folder: Path, results: Results, classes: Sequence[str]) -> None:
    """Write classes.csv, trimap.csv and a confusion matrix for each method (pixel counts, one row per true class)."""
    pixels = results[NETWORK]["confusion"].sum(1).tolist()
    columns: dict[str, Any] = {"class": classes, "pixels": pixels}
    for method, values in results.items():
        columns |= {column_name(name, method): values[name].tolist() for name in ("iou", "accuracy", "boundary_f")}
    write_csv(folder / "classes.csv", columns)

    columns = {"width": range(1, len(results[NETWORK]["trimap_miou"]) + 1)}
    for method, values in results.items():
        columns |= {column_name(name, method): values[f"trimap_{name}"].tolist() for name in ("miou", "pixel_accuracy")}
    write_csv(folder / "trimap.csv", columns)

    for method, values in results.items():
        counts = zip(classes, values["confusion"].T.tolist(), strict=True)
        write_csv(folder / f"{column_name('confusion', method)}.csv", {"truth": classes, **dict(counts)})


def write_plots(folder: Path, results: Results, classes: Sequence[str]) -> None:
    """Write trimap.png, if the data set has void pixels, and a plot of the confusion matrix for each method."""
    curves: dict[str, dict[str, np.ndarray]] = {
        name: {method.title: values[f"trimap_{name}"].numpy() for method, values in results.items()}
        for name in ("miou", "pixel_accuracy")
    }
    if has_trimap(results):
        plot_trimap(**curves).savefig(folder / "trimap.png", dpi=150)
    for method, values in results.items():
        figure = plot_confusion(values["confusion"].numpy(), classes, method.title)
        figure.savefig(folder / f"{column_name('confusion', method)}.png", dpi=110)
