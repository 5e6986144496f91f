"""The names of metrics in metrics.json, loggers and reports.

``val/miou`` belongs to the network, ``val/miou_crf`` to the network with CRF; ``val/iou/CLASS`` and
``val/iou_crf/CLASS`` belong to one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Method(NamedTuple):
    """A method of predicting label maps.

    Attributes:
        suffix: suffix of its metrics' names.
        title: title in tables and plots.
    """

    suffix: str
    title: str


NETWORK = Method("", "network")
CRF = Method("_crf", "network + CRF")
METHODS = (NETWORK, CRF)


def column_name(metric: str, method: Method = NETWORK) -> str:
    """Return the name of a metric without its split: miou, miou_crf."""
    return metric + method.suffix


def metric_name(metric: str, method: Method = NETWORK, split: str = "val", class_: str | None = None) -> str:
    """Return the name of a metric: val/miou, val/miou_crf, val/iou/CLASS, val/iou_crf/CLASS."""
    return f"{split}/{column_name(metric, method)}" + (f"/{class_}" if class_ is not None else "")


def validation_metrics(classes: Sequence[str], methods: Sequence[Method] = METHODS) -> list[str]:
    """Return the names of all metrics that a validation logs during training."""
    names = [metric_name("loss")]
    for method in methods:
        names += [metric_name(metric, method) for metric in ("miou", "pixel_accuracy", "mean_accuracy")]
        names += [metric_name("iou", method, class_=class_) for class_ in classes]
    return names


def is_crf_metric(name: str) -> bool:
    """Tell from its name whether a metric belongs to the network with CRF."""
    return any(part.endswith(CRF.suffix) for part in name.split("/")[1:2])
