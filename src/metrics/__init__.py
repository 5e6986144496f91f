"""Metrics of semantic segmentation, as torchmetrics; they can be used without the rest of the project."""

from src.metrics.boundary import BoundaryMetrics
from src.metrics.confusion import SegmentationMetrics
from src.metrics.trimap import TrimapMetrics

__all__ = ["BoundaryMetrics", "SegmentationMetrics", "TrimapMetrics"]
