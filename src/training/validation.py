"""What a validation found, without and with CRF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

METHODS = {"": "network", "_crf": "network + CRF"}  # by the suffix of their figures
Results = Mapping[str, Mapping[str, Tensor]]  # by suffix: what TrimapMetrics.compute gives


def figures_of(results: Results, classes: Sequence[str], split: str) -> dict[str, float]:
    """Flat, under the names that training logs: SPLIT/miou, SPLIT/miou_crf, SPLIT/iou/CLASS, SPLIT/accuracy/CLASS."""
    figures = {}
    for suffix, values in results.items():
        for name in ("miou", "pixel_accuracy", "mean_accuracy"):
            figures[f"{split}/{name}{suffix}"] = float(values[name])
        for name in ("iou", "accuracy"):
            figures |= {f"{split}/{name}{suffix}/{c}": float(v) for c, v in zip(classes, values[name], strict=True)}
    return figures


def has_trimap(results: Results) -> bool:
    return not next(iter(results.values()))["trimap_miou"].isnan().all()
