"""Names of figures, in metrics.json, in the loggers and in the report: the one place that makes them.

``val/miou`` is the network's and ``val/miou_crf`` that of the network with CRF; ``val/iou/CLASS`` and
``val/iou_crf/CLASS`` are one class's.
"""

from __future__ import annotations

from typing import NamedTuple


class Method(NamedTuple):
    """A way to label images."""

    suffix: str  # of the names of its figures
    title: str


NETWORK = Method("", "network")
CRF = Method("_crf", "network + CRF")
METHODS = (NETWORK, CRF)


def column(figure: str, method: Method = NETWORK) -> str:
    """Return the name of a figure without its split: miou, miou_crf."""
    return figure + method.suffix


def figure_name(figure: str, method: Method = NETWORK, split: str = "val", class_: str | None = None) -> str:
    """Return the name of a figure: val/miou, val/miou_crf, val/iou/CLASS, val/iou_crf/CLASS."""
    return f"{split}/{column(figure, method)}" + (f"/{class_}" if class_ is not None else "")


def is_refined(name: str) -> bool:
    """Tell whether a figure is of the network with CRF, by its name."""
    return any(part.endswith(CRF.suffix) for part in name.split("/")[1:2])
