"""The page: one HTML file that refers to nothing but itself."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from src.reporting.charts import summary_axis, training_charts, trimap_charts
from src.reporting.examples import Gallery
from src.reporting.paper import PAPER
from src.reporting.runs import Run
from src.reporting.table import Row, Table
from src.reporting.text import NOTE, LeftOut, figures, number, with_spread
from src.runs.figures import CRF, METHODS, column
from src.system.files import write_text


def write_page(path: Path, tables: Sequence[Table], examples: Sequence[Gallery | None], left_out: LeftOut) -> None:
    """Fill in the template; every text in it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "command": command, "bar": bar, "known": known}
    environment.globals |= {"with_spread": with_spread, "CRF": CRF}
    sections = [section(table, chosen) for table, chosen in zip(tables, examples, strict=True)]
    runs = [run for table in tables for row in table.rows for run in row.runs]
    text = environment.get_template("page.html.jinja").render(sections=sections, left_out=left_out, runs=runs)
    write_text(path, text)


def section(table: Table, chosen: Gallery | None) -> dict[str, Any]:
    """What the template needs of one data set."""
    axis = summary_axis(table.rows)
    pairs, reversed_pairs = table.order()
    heads = {row.head for row in table.rows}
    return {
        "table": table,
        "figures": [figures(table, row) for row in table.rows],
        "not_run": [row for head, row in PAPER.items() if head not in heads],
        "note": NOTE.format(baseline=table.baseline.label).replace("*", "“", 1).replace("*", "”", 1),
        "axis": [(at(tick, axis), f"{tick:g}") for tick in axis],
        "dots": [dots(row, axis) for row in table.rows],
        "pairs": pairs,
        "reversed": reversed_pairs,
        "classes": [class_bars(table, name) for name in table.classes],
        "training": training_charts(table),
        "trimap": trimap_charts(table),
        "examples": chosen,
    }


def at(value: float, axis: Sequence[float]) -> float:
    """Where a value lies on an axis, in %."""
    return round(100 * (value - axis[0]) / (axis[-1] - axis[0]), 2)


def dots(row: Row, axis: Sequence[float]) -> list[dict[str, Any]]:
    """Without and with CRF: the mean, one standard deviation to each side, and every seed."""
    marks = []
    for method in METHODS:
        if isnan(mean := row.mean("miou", method)):
            continue
        spread = 0.0 if isnan(row.spread("miou", method)) else row.spread("miou", method)
        low, high = max(0.0, at(mean - spread, axis)), min(100.0, at(mean + spread, axis))
        seeds = [at(value, axis) for value in row.values("miou", method)]
        text = f"{method.title}: {with_spread(mean, row.spread('miou', method))}"
        marks.append(
            {
                "name": column("miou", method),
                "text": text,
                "at": at(mean, axis),
                "low": low,
                "high": high,
                "seeds": seeds,
            }
        )
    return marks


def class_bars(table: Table, name: str) -> tuple[str, list[tuple[float, float]]]:
    """A class, and for every row its mean IoU without and with CRF in %."""
    return name, [(row.mean("iou", class_=name), row.mean("iou", CRF, name)) for row in table.rows]


def bar(value: float) -> float:
    """The length of a bar in %; nan has none."""
    return 0.0 if isnan(value) else round(value, 1)


def known(value: float | None) -> bool:
    return value is not None and not isnan(value)


def command(run: Run) -> str:
    """What to type to make a run again."""
    program, *overrides = run.record.get("command") or [""]
    return f"{program} {shlex.join(map(str, overrides))}".strip()
