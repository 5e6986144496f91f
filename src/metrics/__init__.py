"""Evaluation as the field does it; plain torchmetrics, usable without the rest."""

from src.metrics.segmentation import SegmentationMetrics

__all__ = ["SegmentationMetrics"]
