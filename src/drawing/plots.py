"""Plots of evaluations and of CRF searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Integer

from src.drawing.fonts import find_font_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, Float[np.ndarray, "widths"]]


def plot_trimap(miou: Curves, pixel_accuracy: Curves) -> Figure:
    """Return a plot of the trimap curves: two panels with a line for each method (paper, figure 5).

    Args:
        miou, pixel_accuracy: curves by method, in 0..1, for bands of 1, 2, ... pixels; NaN leaves a gap.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    titles = ("mean IoU in the band, %", "pixel accuracy in the band, %")
    for panel, title, curves in zip(panels, titles, (miou, pixel_accuracy), strict=True):
        for method, values in curves.items():
            panel.plot(np.arange(1, len(values) + 1), 100 * values, label=method, marker=".", markersize=4)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("width of the band around void, pixels")
        panel.set_xlim(left=0)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    return figure


def plot_confusion(
    confusion: Integer[np.ndarray, "classes classes"], classes: Sequence[str], title: str = ""
) -> Figure:
    """Return a plot of how the pixels of each true class (row) were predicted (column), in %; grey if absent."""
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    pixels = confusion.sum(1, keepdims=True)
    share = np.divide(100.0 * confusion, pixels, out=np.full(confusion.shape, np.nan), where=pixels > 0)
    side = 2.2 + 0.42 * len(classes)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("0.9")
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    ticks = np.arange(len(classes))
    axes.set_xticks(ticks, classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(ticks, classes, fontsize=9)
    for label, name in zip([*axes.get_xticklabels(), *axes.get_yticklabels()], [*classes, *classes], strict=True):
        label.set_parse_math(False)  # a name may hold dollar signs
        if not name.isascii():
            label.set_fontproperties(FontProperties(fname=str(find_font_file(name)), size=9))
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    axes.set_title(title, fontsize=11)
    if len(classes) <= 40:  # with more classes, numbers would not be legible
        for row, column in np.argwhere(share >= 0.5):
            colour = "white" if share[row, column] > 55 else "black"
            axes.text(column, row, f"{share[row, column]:.0f}", color=colour, ha="center", va="center", fontsize=8)
    figure.colorbar(picture, ax=axes, label="% of the true class", shrink=0.7)
    return figure


def plot_search(points: Sequence[tuple[Mapping[str, float], float, int]]) -> Figure:
    """Return heat maps of a search over sxy and srgb: one for each w1 of the coarse grid, and one of the finer points.

    The finer points are those at the best w1. If the points do not form a grid, each parameter has a panel with all
    points.

    Args:
        points: parameters, mean IoU in %, and the round (0 is the coarse grid). Of points that differ in other
            parameters only, the best one is shown.
    """
    from matplotlib.figure import Figure

    best, highest, _ = max(points, key=lambda point: point[1])
    scale: dict[str, Any] = {"vmin": min(miou for _, miou, _ in points), "vmax": highest, "cmap": "viridis"}
    coarse = best_by_point(points, finer=False)
    finer = {(x, y): miou for (w1, x, y), miou in best_by_point(points, True).items() if w1 == best.get("w1", 0.0)}
    weights, columns, rows = (np.unique([point_values[axis] for point_values in coarse]) for axis in range(3))
    if len(weights) * len(columns) * len(rows) != len(coarse):
        return plot_scatter(points)
    count = len(weights) + bool(finer)
    figure = Figure(figsize=(1.6 + count * (1.3 + 0.6 * len(columns)), 2.4 + 0.42 * len(rows)), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    for weight, panel in zip(weights, panels, strict=False):
        table = np.array([[coarse[weight, column, row] for column in columns] for row in rows])
        mesh = panel.pcolormesh(cell_edges(columns), cell_edges(rows), table, **scale)
        for (row, column), miou in np.ndenumerate(table):
            colour = "black" if miou > (scale["vmin"] + highest) / 2 else "white"
            panel.text(columns[column], rows[row], f"{miou:.1f}", color=colour, ha="center", va="center", fontsize=8)
        panel.set_title(f"w1 = {weight:g}", fontsize=10)
        panel.set_xticks(columns, [f"{value:g}" for value in columns])
        panel.set_yticks(rows, [f"{value:g}" for value in rows])
    if finer:
        panels[-1].scatter(*zip(*finer, strict=True), c=list(finer.values()), marker="s", s=90, **scale)
        panels[-1].plot(best.get("sxy", 0.0), best.get("srgb", 0.0), "*", color="red", markersize=7)
        panels[-1].margins(0.15)
        panels[-1].set_title(f"coarse and finer, w1 = {best.get('w1', 0.0):g}", fontsize=10)
    for panel in panels:
        panel.set_xlabel("sxy, pixels")
    panels[0].set_ylabel("srgb, grey levels")
    values = ", ".join(f"{name} = {value:g}" for name, value in best.items())
    figure.suptitle(f"best: {values}; mean IoU {highest:.2f} %", fontsize=11)
    figure.colorbar(mesh, ax=panels, label="mean IoU, %", shrink=0.8)
    return figure


def plot_scatter(points: Sequence[tuple[Mapping[str, float], float, int]]) -> Figure:
    """Return a plot of mean IoU over each parameter (later trials are darker), and coloured over srgb and sxy."""
    from matplotlib.figure import Figure

    best, highest, _ = max(points, key=lambda point: point[1])
    mious = [miou for _, miou, _ in points]
    names = list(best)
    plane = [name for name in ("sxy", "srgb") if name in names]
    count = len(names) + (len(plane) == 2)
    figure = Figure(figsize=(1 + 3.2 * count, 3.4), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    for name, panel in zip(names, panels, strict=False):
        values = [point_values[name] for point_values, *_ in points]
        shade: dict[str, Any] = {"c": np.arange(len(points)), "cmap": "Blues", "vmin": -len(points) / 2}
        panel.scatter(values, mious, s=28, edgecolors="0.6", linewidths=0.4, **shade)
        panel.plot(best[name], highest, "*", color="red", markersize=11)
        panel.set_xlabel(name)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("mean IoU, %; later trials are darker")
    if len(plane) == 2:
        sides = [[point_values[name] for point_values, *_ in points] for name in plane]
        spots = panels[-1].scatter(*sides, c=mious, cmap="viridis", s=40)
        panels[-1].plot(best["sxy"], best["srgb"], "*", color="red", markersize=11)
        panels[-1].set_xlabel("sxy, pixels")
        panels[-1].set_ylabel("srgb, grey levels")
        figure.colorbar(spots, ax=panels[-1], label="mean IoU, %")
    figure.suptitle(
        f"best: {', '.join(f'{name} = {value:g}' for name, value in best.items())}; mean IoU {highest:.2f} %",
        fontsize=11,
    )
    return figure


def best_by_point(
    points: Sequence[tuple[Mapping[str, float], float, int]], finer: bool
) -> dict[tuple[float, ...], float]:
    """Return the highest mean IoU at every (w1, sxy, srgb), of the coarse grid or also of the finer points."""
    highest: dict[tuple[float, ...], float] = {}
    if not finer or any(round for *_, round in points):
        for values, miou, round in points:
            point_values = tuple(values.get(name, 0.0) for name in ("w1", "sxy", "srgb"))
            if finer or round == 0:
                highest[point_values] = max(miou, highest.get(point_values, miou))
    return highest


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Return the edges of cells around ascending centres, half way between neighbours."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
