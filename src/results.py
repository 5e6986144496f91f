"""What an evaluation leaves behind: JSON, CSV and plots."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

METHODS = {"": "network", "_crf": "network + CRF"}  # by the suffix of their figures
Results = Mapping[str, Mapping[str, Tensor]]  # by suffix: what TrimapMetrics.compute gives


def figures_of(results: Results, classes: Sequence[str], split: str) -> dict[str, float]:
    """Flat, under the names that training logs: SPLIT/miou, SPLIT/miou_crf, SPLIT/iou/CLASS, SPLIT/accuracy/CLASS."""
    figures = {}
    for suffix, values in results.items():
        for name in ("miou", "pixel_accuracy", "mean_accuracy"):
            figures[f"{split}/{name}{suffix}"] = float(values[name])
        for name in ("iou", "accuracy"):
            figures |= {f"{split}/{name}{suffix}/{c}": float(v) for c, v in zip(classes, values[name], strict=True)}
    return figures


def write_json(path: Path, figures: Mapping[str, float]) -> None:
    """Figures by name; JSON knows no nan, so what is absent is null."""
    finite = {name: None if isnan(value) else value for name, value in figures.items()}
    path.write_text(json.dumps(finite, indent=2) + "\n")


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


def write_csv(path: Path, columns: Mapping[str, Iterable[Any]]) -> None:
    """Columns by title; nan is an empty cell."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow("" if isinstance(cell, float) and isnan(cell) else cell for cell in row)


def draw(folder: Path, results: Results, classes: Sequence[str]) -> None:
    """trimap.png, where the data set has void pixels, and a confusion matrix for each method."""
    from src.figures import confusion_figure, trimap_figure

    curves: dict[str, dict[str, np.ndarray]] = {
        name: {METHODS[suffix]: values[f"trimap_{name}"].numpy() for suffix, values in results.items()}
        for name in ("miou", "pixel_accuracy")
    }
    if has_trimap(results):
        trimap_figure(**curves).savefig(folder / "trimap.png", dpi=150)
    for suffix, values in results.items():
        figure = confusion_figure(values["confusion"].numpy(), classes, METHODS[suffix])
        figure.savefig(folder / f"confusion{suffix}.png", dpi=110)


def has_trimap(results: Results) -> bool:
    return not next(iter(results.values()))["trimap_miou"].isnan().all()
