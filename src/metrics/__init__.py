"""Evaluation as the field does it; plain torchmetrics, usable without the rest."""

from src.metrics.confusion import SegmentationMetrics
from src.metrics.trimap import TrimapMetrics

__all__ = ["SegmentationMetrics", "TrimapMetrics"]
