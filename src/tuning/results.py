"""Write and print the results of a search: metrics, a table and heat maps."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from src.drawing.plots import plot_search
from src.drawing.tables import format_percent
from src.metrics.confusion import ratios
from src.runs.metric_files import write_csv, write_json
from src.system.counted import counted
from src.tuning.search import Confusion, Trial

Comparison = Mapping[str, Mapping[str, Confusion]]  # by part of the images (searched, held_back) and method
TITLES = {"network": "network", "crf_before": "+ CRF before", "crf_tuned": "+ CRF tuned"}
TABLE_ROWS = 10  # rows of the printed table


def write_search(
    folder: Path, trials: Sequence[Trial], comparison: Comparison, images: Mapping[str, int], start: float
) -> None:
    """Write results.csv (every configuration, best first), metrics.json and heatmap.png."""
    ranked = sorted(trials, key=lambda trial: -trial.miou)
    scores = [ratios(trial.confusion) for trial in ranked]
    write_csv(
        folder / "results.csv",
        {
            **{name: [as_cell(trial.values[name]) for trial in ranked] for name in ranked[0].values},
            **{name: [float(values[name]) for values in scores] for name in ("miou", "pixel_accuracy")},
            "round": [trial.round for trial in ranked],
            "seconds": [trial.seconds for trial in ranked],
        },
    )
    metrics = {
        f"{part}/{name}/{method}": float(ratios(confusion)[name])
        for part, methods in comparison.items()
        for method, confusion in methods.items()
        for name in ("miou", "pixel_accuracy")
    }
    metrics |= {f"{part}/images": count for part, count in images.items()}
    metrics["seconds/search"] = sum(trial.seconds for trial in trials)  # over all runs of this search
    metrics["seconds/this_run"] = time.perf_counter() - start
    write_json(folder / "metrics.json", metrics)
    if numbers(ranked[0]):  # no plot of lists
        points = [({**trial.values}, 100 * trial.miou, trial.round) for trial in trials]
        plot_search(points).savefig(folder / "heatmap.png", dpi=130)


def as_cell(value: Any) -> Any:
    """Return a parameter for a CSV file, a list as JSON."""
    return json.dumps(value) if isinstance(value, list) else value


def numbers(trial: Trial) -> dict[str, float]:
    """Return the parameters of a trial that are numbers."""
    return {name: value for name, value in trial.values.items() if not isinstance(value, list)}


def print_search(
    folder: Path, trials: Sequence[Trial], comparison: Comparison, classes: Sequence[str], preset: Path | None
) -> None:
    """Print the best configurations, their gain on images searched on and held back, and the files written."""
    console = Console()
    ranked = sorted(trials, key=lambda trial: -trial.miou)
    table = Table(
        title=f"The best {min(TABLE_ROWS, len(ranked))} of {counted(len(ranked), 'configuration')}",
        title_justify="left",
    )
    for column in (*numbers(ranked[0]), "round", "mean IoU", "pixel accuracy"):
        table.add_column(column, justify="right")
    for trial in ranked[:TABLE_ROWS]:
        values = ratios(trial.confusion)
        scores = (format_percent(float(values[name])) for name in ("miou", "pixel_accuracy"))
        table.add_row(*(f"{value:g}" for value in numbers(trial).values()), str(trial.round), *scores)
    console.print(table)

    table = Table(title="Mean IoU in %", title_justify="left")
    for column in ("", *("images searched on" if part == "searched" else "held back" for part in comparison)):
        table.add_column(column, justify="right" if column else "left")
    miou = {part: {m: float(ratios(c)["miou"]) for m, c in methods.items()} for part, methods in comparison.items()}
    for method, title in TITLES.items():
        table.add_row(title, *(format_percent(values[method]) for values in miou.values()))
    for title, before in (("gain over the network", "network"), ("gain over the CRF before", "crf_before")):
        table.add_row(title, *(f"{100 * (v['crf_tuned'] - v[before]):+.1f}" for v in miou.values()))
    table.add_row("largest loss of a class", *(largest_loss(methods, classes) for methods in comparison.values()))
    console.print(table)
    console.print(f"{sum(trial.seconds for trial in trials):.0f} s for {counted(len(trials), 'configuration')}")
    console.print(f"{folder}/", highlight=False, soft_wrap=True)
    for name in ("crf.yaml", "results.csv", "heatmap.png", "metrics.json"):
        if not (folder / name).is_file():
            continue
        console.print(f"  {name}", highlight=False)
    if preset:
        console.print(f"use it: crf={preset.stem} ({preset})", highlight=False, soft_wrap=True)


def largest_loss(methods: Mapping[str, Confusion], classes: Sequence[str]) -> str:
    """Return the change of the class whose IoU the tuned CRF lowers most, and its name."""
    changes = ratios(methods["crf_tuned"])["iou"] - ratios(methods["network"])["iou"]
    worst = int(changes.nan_to_num(float("inf")).argmin())
    return f"{100 * float(changes[worst]):+.1f} ({classes[worst]})"
