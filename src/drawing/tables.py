"""Tables for people."""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_parameter_groups(groups: Sequence[Mapping[str, Any]]) -> None:
    """What the optimiser holds (its ``param_groups``), one line a group."""
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
    """Print IoU class by class without and with CRF, the means, and where everything lies.

    Args:
        results: the network's figures, and those with CRF where one ran: by name, as ``ratios`` of the confusion
            matrix gives them, in 0..1; nan is a class that is absent.
        folder: of the run.
        contents: what in it is worth opening.
        split: that was validated on.
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
        cells = [percent(value) for value in values]
        if len(values) > 1:
            gain = 100 * (values[1] - values[0])
            cells.append("" if isnan(gain) else f"{gain:+.1f}")
        table.add_row(heading, *cells, style=style)

    for heading, *values in zip(classes, *(figures["iou"] for figures in results), strict=True):
        row(escape(heading), [float(value) for value in values])
    table.add_section()
    row("mean IoU", [float(figures["miou"]) for figures in results], "bold")
    for figure in ("pixel_accuracy", "mean_accuracy"):
        row(figure.replace("_", " "), [float(figures[figure]) for figures in results])
    return table


def percent(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.1f}"
