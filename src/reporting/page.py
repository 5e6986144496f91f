"""Write the report as one self-contained HTML file."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from src.drawing.html import render
from src.reporting.charts import summary_axis, training_charts, trimap_charts
from src.reporting.examples import Gallery
from src.reporting.paper import PAPER
from src.reporting.runs import Run
from src.reporting.table import Row, Table
from src.reporting.text import NOTE, LeftOut, row_values, with_spread
from src.runs.metric_names import CRF, METHODS, column_name
from src.system.files import write_text


def write_page(path: Path, tables: Sequence[Table], examples: Sequence[Gallery | None], left_out: LeftOut) -> None:
    """Fill in the template, and write the page."""
    sections = [section(table, chosen) for table, chosen in zip(tables, examples, strict=True)]
    runs = [run for table in tables for row in table.rows for run in row.runs]
    filters: dict[str, Callable[..., Any]] = {"command": command, "bar": bar}
    values = {"sections": sections, "left_out": left_out, "runs": runs, "with_spread": with_spread, "CRF": CRF}
    write_text(path, render(Path(__file__).with_name("page.html.jinja"), filters, **values))


def section(table: Table, chosen: Gallery | None) -> dict[str, Any]:
    """Return what the template needs for one data set."""
    axis = summary_axis(table.rows)
    pairs, reversed_pairs = table.order()
    heads = {row.head for row in table.rows}
    return {
        "table": table,
        "row_values": [row_values(table, row) for row in table.rows],
        "not_run": [row for head, row in PAPER.items() if head not in heads],
        "note": NOTE.format(baseline=table.baseline.label).replace("*", "“", 1).replace("*", "”", 1),
        "axis": [(to_percent(tick, axis), f"{tick:g}") for tick in axis],
        "row_marks": [row_marks(row, axis) for row in table.rows],
        "pairs": pairs,
        "reversed": reversed_pairs,
        "classes": [class_bars(table, name) for name in table.classes],
        "training": training_charts(table),
        "trimap": trimap_charts(table),
        "examples": chosen,
    }


def to_percent(value: float, axis: Sequence[float]) -> float:
    """Return the position of a value on an axis, in %."""
    return round(100 * (value - axis[0]) / (axis[-1] - axis[0]), 2)


def row_marks(row: Row, axis: Sequence[float]) -> list[dict[str, Any]]:
    """Return the marks of a row, without and with CRF: mean, one standard deviation to each side, and every seed."""
    marks = []
    for method in METHODS:
        if isnan(mean := row.mean("miou", method)):
            continue
        spread = 0.0 if isnan(row.spread("miou", method)) else row.spread("miou", method)
        low, high = max(0.0, to_percent(mean - spread, axis)), min(100.0, to_percent(mean + spread, axis))
        seeds = [to_percent(value, axis) for value in row.values("miou", method)]
        text = f"{method.title}: {with_spread(mean, row.spread('miou', method))}"
        marks.append(
            {
                "name": column_name("miou", method),
                "text": text,
                "mean": to_percent(mean, axis),
                "low": low,
                "high": high,
                "seeds": seeds,
            }
        )
    return marks


def class_bars(table: Table, name: str) -> tuple[str, list[tuple[float, float]]]:
    """Return a class, and for every row its mean IoU without and with CRF, in %."""
    return name, [(row.mean("iou", class_=name), row.mean("iou", CRF, name)) for row in table.rows]


def bar(value: float) -> float:
    """Return the length of a bar in %; 0 for NaN."""
    return 0.0 if isnan(value) else round(value, 1)


def command(run: Run) -> str:
    """Return the command that repeats a run."""
    program, *overrides = run.record.get("command") or [""]
    return f"{program} {shlex.join(map(str, overrides))}".strip()
