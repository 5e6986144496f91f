"""Lines for the page: everything in % of the plot, so that a phone stretches the plot and not the letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from src.reporting.runs import Curve, Run
from src.reporting.table import Row, Table
from src.runs.figures import CRF, METHODS, NETWORK, column, figure_name


@dataclass(frozen=True)
class Line:
    """A curve of one row of the table."""

    label: str
    colour: int  # of the row
    points: Curve
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """What the template draws: ticks as (position in %, text), lines as (line, SVG points in 0..100)."""

    title: str
    x_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[tuple[Line, str]]


def chart(title: str, x_title: str, lines: Sequence[Line]) -> Chart | None:
    """Axes with round numbers around all points that are finite; None without any."""
    finite = [Line(k.label, k.colour, [p for p in k.points if all(map(isfinite, p))], k.dashed) for k in lines]
    finite = [line for line in finite if line.points]
    if not finite:
        return None
    end = max(x for line in finite for x, _ in line.points)
    x_ticks = [tick for tick in round_ticks([0, end]) if tick <= end]
    y_ticks = round_ticks([y for line in finite for _, y in line.points])

    def place(value: float, ends: Sequence[float]) -> float:
        return round(100 * (value - ends[0]) / (ends[-1] - ends[0]), 2)

    drawn = []
    for line in finite:
        at = [f"{place(x, (0, end))},{round(100 - place(y, y_ticks), 2)}" for x, y in line.points]
        drawn.append((line, " ".join(at)))
    return Chart(
        title,
        x_title,
        [(place(t, (0, end)), f"{t:,g}") for t in x_ticks],
        [(100 - place(t, y_ticks), f"{t:,g}") for t in y_ticks],
        drawn,
    )


def round_ticks(values: Sequence[float]) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    low, high = min(values), max(values)
    if low == high:
        low, high = low - abs(low) / 2 - 0.5, high + abs(high) / 2 + 0.5
    return [float(f"{tick:.10g}") for tick in MaxNLocator(nbins=5, min_n_ticks=3).tick_values(low, high)]


def training_charts(table: Table) -> list[Chart]:
    """Loss and mean IoU by the iteration, a line for each seed."""
    mious = {figure_name("miou"): "mean IoU, %", figure_name("miou", CRF): "mean IoU with CRF, %"}
    named = {"train/loss": "training loss", **mious}
    charts = []
    for key, title in named.items():
        scale = 1 if key == "train/loss" else 100
        lines = [
            Line(f"{row.label}, seed {run.config.get('seed')}", colour, trained(run.curves[key], run, scale))
            for colour, row in enumerate(table.rows)
            for run in row.runs
            if key in run.curves
        ]
        charts.append(chart(title, "iteration", lines))
    return [c for c in charts if c]


def trimap_charts(table: Table) -> list[Chart]:
    """Mean IoU and pixel accuracy in bands around void; dashed: the network, solid: with CRF."""
    charts = []
    for key, title in (("miou", "mean IoU in the band, %"), ("pixel_accuracy", "pixel accuracy in the band, %")):
        lines = [
            Line(
                row.label + (", with CRF" if method is CRF else ""),
                colour,
                percent(row.trimap[column(key, method)]),
                dashed=method is NETWORK,
            )
            for colour, row in enumerate(table.rows)
            for method in METHODS
            if column(key, method) in row.trimap
        ]
        charts.append(chart(title, "width of the band around void, pixels", lines))
    return [c for c in charts if c]


def trained(curve: Curve, run: Run, factor: float) -> Curve:
    """By iterations, which count from 1; without the last validation, which is of the best checkpoint, not the last."""
    end = run.part("trainer").get("max_steps") or -1
    return [(step + 1, factor * y) for step, y in curve if end < 0 or step < end]


def percent(curve: Curve) -> Curve:
    return [(x, 100 * y) for x, y in curve]


def summary_axis(rows: Sequence[Row]) -> list[float]:
    """Ticks that hold the means of all rows, their seeds, and their spread."""
    values: list[float] = []
    for row in rows:
        for method in METHODS:
            mean, spread = row.mean("miou", method), row.spread("miou", method)
            values += [*row.values("miou", method), mean - spread, mean + spread]
    finite = [value for value in values if isfinite(value)]
    return round_ticks(finite) if finite else [0.0, 100.0]
