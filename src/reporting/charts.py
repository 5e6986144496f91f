"""Line charts for the report, in % of the plot, so that a narrow screen scales the plot but not the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from src.reporting.runs import Curve, Run
from src.reporting.table import Row, Table
from src.runs.metric_names import CRF, METHODS, NETWORK, column_name, metric_name


@dataclass(frozen=True)
class Line:
    """A curve of one row of the table."""

    label: str
    colour: int  # of the row
    points: Curve
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart for the template: ticks as (position in %, label), lines as (line, SVG points in 0..100)."""

    title: str
    x_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[tuple[Line, str]]


def chart(title: str, x_title: str, lines: Sequence[Line]) -> Chart | None:
    """Return a chart whose axes have round numbers around all finite points; None if there is no such point."""
    finite = [Line(k.label, k.colour, [p for p in k.points if all(map(isfinite, p))], k.dashed) for k in lines]
    finite = [line for line in finite if line.points]
    if not finite:
        return None
    end = max(x for line in finite for x, _ in line.points)
    x_ticks = [tick for tick in round_ticks([0, end]) if tick <= end]
    y_ticks = round_ticks([y for line in finite for _, y in line.points])

    def to_percent(value: float, ends: Sequence[float]) -> float:
        return round(100 * (value - ends[0]) / (ends[-1] - ends[0]), 2)

    svg_lines = []
    for line in finite:
        points = [f"{to_percent(x, (0, end))},{round(100 - to_percent(y, y_ticks), 2)}" for x, y in line.points]
        svg_lines.append((line, " ".join(points)))
    return Chart(
        title,
        x_title,
        [(to_percent(t, (0, end)), f"{t:,g}") for t in x_ticks],
        [(100 - to_percent(t, y_ticks), f"{t:,g}") for t in y_ticks],
        svg_lines,
    )


def round_ticks(values: Sequence[float]) -> list[float]:
    """Return ticks with round numbers that enclose all values."""
    from matplotlib.ticker import MaxNLocator

    low, high = min(values), max(values)
    if low == high:
        low, high = low - abs(low) / 2 - 0.5, high + abs(high) / 2 + 0.5
    return [float(f"{tick:.10g}") for tick in MaxNLocator(nbins=5, min_n_ticks=3).tick_values(low, high)]


def training_charts(table: Table) -> list[Chart]:
    """Return charts of loss and mean IoU by step, with a line for each seed."""
    mious = {metric_name("miou"): "mean IoU, %", metric_name("miou", CRF): "mean IoU with CRF, %"}
    titles = {"train/loss": "training loss", **mious}
    charts = []
    for key, title in titles.items():
        scale = 1 if key == "train/loss" else 100
        lines = [
            Line(f"{row.label}, seed {run.config.get('seed')}", colour, training_curve(run.curves[key], run, scale))
            for colour, row in enumerate(table.rows)
            for run in row.runs
            if key in run.curves
        ]
        charts.append(chart(title, "step", lines))
    return [c for c in charts if c]


def trimap_charts(table: Table) -> list[Chart]:
    """Return charts of mean IoU and pixel accuracy in bands around void; dashed without CRF, solid with it."""
    charts = []
    for key, title in (("miou", "mean IoU in the band, %"), ("pixel_accuracy", "pixel accuracy in the band, %")):
        lines = [
            Line(
                row.label + (", with CRF" if method is CRF else ""),
                colour,
                to_percent_curve(row.trimap[column_name(key, method)]),
                dashed=method is NETWORK,
            )
            for colour, row in enumerate(table.rows)
            for method in METHODS
            if column_name(key, method) in row.trimap
        ]
        charts.append(chart(title, "width of the band around void, pixels", lines))
    return [c for c in charts if c]


def training_curve(curve: Curve, run: Run, factor: float) -> Curve:
    """Return a curve over steps counted from 1, without the last validation.

    That validation is of the best checkpoint, not of the last step.
    """
    end = run.part("trainer").get("max_steps") or -1
    return [(step + 1, factor * y) for step, y in curve if end < 0 or step < end]


def to_percent_curve(curve: Curve) -> Curve:
    """Return a curve with its values in %."""
    return [(x, 100 * y) for x, y in curve]


def summary_axis(rows: Sequence[Row]) -> list[float]:
    """Return ticks that enclose the means of all rows, their seeds and their spread."""
    values: list[float] = []
    for row in rows:
        for method in METHODS:
            mean, spread = row.mean("miou", method), row.spread("miou", method)
            values += [*row.values("miou", method), mean - spread, mean + spread]
    finite = [value for value in values if isfinite(value)]
    return round_ticks(finite) if finite else [0.0, 100.0]
