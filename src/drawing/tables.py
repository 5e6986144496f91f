"""Tables for the terminal."""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_parameter_groups(groups: Sequence[Mapping[str, Any]]) -> None:
    """Print the optimiser's ``param_groups``, a line for each group."""
    table = Table(title="Parameter groups", title_justify="left")
    for column in ("group", "tensors", "parameters", "learning rate", "weight decay"):
        table.add_column(column, justify="left" if column == "group" else "right")
    for group in groups:
        count = sum(parameter.numel() for parameter in group["params"])
        rates = (f"{group[key]:g}" for key in ("lr", "weight_decay"))
        table.add_row(group["name"], str(len(group["params"])), f"{count:,}", *rates)
    Console().print(table)


def print_results(
    results: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    folder: Path,
    contents: Sequence[str],
    split: str = "val",
) -> None:
    """Print IoU by class with and without CRF, the means, and the files that were written.

    Args:
        results: the metrics of the network, and those with CRF if it ran, as ``ratios`` returns them; NaN for an absent
            class.
        classes: names of the classes.
        folder: of the run.
        contents: names of the files and folders in it to list.
        split: the split that was evaluated.
    """
    console = Console()
    if not isnan(results[0]["miou"]):
        console.print(results_table(results, classes, split))
    console.print(f"{folder}/", highlight=False, soft_wrap=True, markup=False)
    for name in contents:
        console.print(f"  {name}{'/' if (folder / name).is_dir() else ''}", highlight=False)


def results_table(results: Sequence[Mapping[str, Any]], classes: Sequence[str], split: str) -> Table:
    """Return the table that ``print_results`` prints."""
    title = "Validation" if split == "val" else f"Split {split}"
    table = Table(title=f"{title}, IoU in %", title_justify="left")
    table.add_column("class")
    for heading in ("network", "+ CRF", "gain") if len(results) > 1 else ("network",):
        table.add_column(heading, justify="right")

    def row(heading: str, values: Sequence[float], style: str | None = None) -> None:
        cells = [format_percent(value) for value in values]
        if len(values) > 1:
            gain = 100 * (values[1] - values[0])
            cells.append("" if isnan(gain) else f"{gain:+.1f}")
        table.add_row(heading, *cells, style=style)

    for heading, *values in zip(classes, *(metrics["iou"] for metrics in results), strict=True):
        row(escape(heading), [float(value) for value in values])
    table.add_section()
    row("mean IoU", [float(metrics["miou"]) for metrics in results], "bold")
    for metric in ("pixel_accuracy", "mean_accuracy", "mean_boundary_F"):
        if metric.lower() in results[0]:
            row(metric.replace("_", " "), [float(metrics[metric.lower()]) for metrics in results])
    return table


def format_percent(value: float) -> str:
    """Format a value of 0..1 as a percentage; a dash for NaN."""
    return "-" if isnan(value) else f"{100 * value:.1f}"
