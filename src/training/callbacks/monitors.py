"""Check the metrics that callbacks monitor."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from src.runs.metric_names import METHODS, NETWORK, is_crf_metric, metric_name, validation_metrics
from src.system.errors import UserError
from src.system.suggestions import did_you_mean


def check_monitors(config: DictConfig, classes: Sequence[str]) -> None:
    """Check that every metric that a callback monitors will be logged, and that its mode is right.

    Lightning would notice only at the first validation.

    Raises:
        UserError: if a metric will not be logged, or a mode is wrong.
    """
    has_crf = bool(config.crf and config.callbacks.get("crf"))
    names = validation_metrics(classes, METHODS if has_crf else (NETWORK,))
    for key, settings in config.callbacks.items():
        monitor = settings.get("monitor") if settings else None
        if monitor is None:
            if key == "early_stopping" and settings:
                raise UserError(f"callbacks.{key}.monitor=null: name the metric to monitor, such as val/miou")
            continue
        monitor = str(monitor)
        if monitor not in names and is_crf_metric(monitor) and not has_crf:
            raise UserError(f"callbacks.{key}.monitor={monitor}: needs a CRF; set crf=deeplab, for example")
        if monitor not in names:
            raise UserError(
                f"callbacks.{key}.monitor={monitor}: no such metric.{did_you_mean(monitor, names)} "
                f"A validation gives {', '.join(name for name in names if name.count('/') == 1)} and val/iou/CLASS"
            )
        best = "min" if monitor == metric_name("loss") else "max"
        if settings.get("mode", best) != best:
            raise UserError(
                f"callbacks.{key}.mode={settings.mode}: the best {monitor} is the {best}imum; set mode={best}"
            )
