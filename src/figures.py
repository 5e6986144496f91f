"""Plots of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, Float[np.ndarray, "widths"]]


def trimap_figure(miou: Curves, pixel_accuracy: Curves) -> Figure:
    """Two panels, a line for each method: the curves by the band's width in pixels (the paper's figure 5).

    Args:
        miou, pixel_accuracy: by method, in 0..1, of the widths 1, 2, ...; nan leaves a gap.
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


def confusion_figure(
    confusion: Integer[np.ndarray, "classes classes"], classes: Sequence[str], title: str = ""
) -> Figure:
    """How much of every true class (row) is taken for each class (column), in %; a class without pixels is grey."""
    from matplotlib.figure import Figure

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
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    axes.set_title(title, fontsize=11)
    if len(classes) <= 40:  # beyond, numbers would not be legible
        for row, column in np.argwhere(share >= 0.5):
            colour = "white" if share[row, column] > 55 else "black"
            axes.text(column, row, f"{share[row, column]:.0f}", color=colour, ha="center", va="center", fontsize=8)
    figure.colorbar(picture, ax=axes, label="% of the true class", shrink=0.7)
    return figure
