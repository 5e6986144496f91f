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
    metrics: Mapping[str, float], classes: Sequence[str], folder: Path, contents: Sequence[str], split: str = "val"
) -> None:
    """IoU class by class without and with CRF, the means, and where everything lies.

    Args:
        metrics: as logged: val/iou/CLASS, val/iou_crf/CLASS, val/miou, ...; nan is a class that is absent.
        folder: of the run.
        contents: what in it is worth opening.
        split: what stands before the names.
    """
    console = Console()
    if not isnan(metrics[f"{split}/miou"]):
        console.print(results_table(metrics, classes, split))
    console.print(f"{folder}/", highlight=False, soft_wrap=True, markup=False)
    for name in contents:
        console.print(f"  {name}{'/' if (folder / name).is_dir() else ''}", highlight=False)


def results_table(metrics: Mapping[str, float], classes: Sequence[str], split: str) -> Table:
    with_crf = f"{split}/miou_crf" in metrics
    title = "Validation" if split == "val" else f"Split {split}"
    table = Table(title=f"{title}, IoU in %", title_justify="left")
    table.add_column("class")
    for column in ("network", "+ CRF", "gain") if with_crf else ("network",):
        table.add_column(column, justify="right")

    def row(title: str, key: str, style: str | None = None) -> None:
        before, after = metrics[f"{split}/{key}"], metrics.get(f"{split}/{key.replace('iou', 'iou_crf')}", float("nan"))
        cells = [percent(before)]
        if with_crf:
            cells += [percent(after), "" if isnan(after - before) else f"{100 * (after - before):+.1f}"]
        table.add_row(title, *cells, style=style)

    for name in classes:
        row(escape(name), f"iou/{name}")
    table.add_section()
    row("mean IoU", "miou", "bold")
    for key in ("pixel_accuracy", "mean_accuracy"):
        before, after = metrics[f"{split}/{key}"], metrics.get(f"{split}/{key}_crf", float("nan"))
        cells = [percent(before), percent(after), f"{100 * (after - before):+.1f}"] if with_crf else [percent(before)]
        table.add_row(key.replace("_", " "), *cells)
    return table


def percent(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.1f}"
