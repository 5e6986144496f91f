"""Tables 1 and 2 of arXiv 1412.7062 (v4), and the row that a configuration belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class PaperRow(NamedTuple):
    """Mean IoU in % on PASCAL VOC 2012 of VGG-16 from ImageNet, trained on 10,582 images; None if not published."""

    name: str
    val: float | None
    val_crf: float | None
    test_crf: float | None
    source: str


# By the name of our head, in the paper's order. A row that is in both tables has the same numbers in both.
PAPER: dict[str, PaperRow] = {
    "vanilla": PaperRow("DeepLab", 59.80, 63.74, 66.4, "Table 1; Table 2, kernel 4x4, stride 4"),
    "msc": PaperRow("DeepLab-MSc", 61.30, 65.21, 67.1, "Table 1"),
    "kernel7x7": PaperRow("DeepLab-7x7", 64.38, 67.64, 70.3, "Table 1; Table 2, kernel 7x7, stride 4"),
    "kernel4x4": PaperRow("DeepLab-4x4", None, 67.14, None, "Table 2, kernel 4x4, stride 8"),
    "largefov": PaperRow("DeepLab-LargeFOV", 62.25, 67.64, 70.3, "Table 1; Table 2, kernel 3x3, stride 12"),
    "msc_largefov": PaperRow("DeepLab-MSc-LargeFOV", 64.21, 68.70, 71.6, "Table 1"),
}

SHAPES: dict[tuple[Any, ...], str] = {  # of fc6: kernel, rate, channels
    (4, 4, 4096): "vanilla",
    (7, 4, 4096): "kernel7x7",
    (4, 8, 4096): "kernel4x4",
    (3, 12, 1024): "largefov",
    (3, 4, 1024): "largefov_r4",
}


def head_name(head: Mapping[str, Any]) -> str:
    """Return the name of a head in conf/head/, found by its shape; else its class and shape."""
    kind = str(head.get("_target_", "?")).rpartition(".")[2]
    if kind == "MSc":
        trunk = head_name(head.get("trunk") or {})
        return {"vanilla": "msc", "largefov": "msc_largefov"}.get(trunk, f"msc on {trunk}")
    if kind == "FullResolutionHead":
        return "tutorial"
    shape = tuple(head.get(key) for key in ("kernel", "rate", "channels"))
    return SHAPES.get(shape, kind if None in shape else "{0}x{0}, rate {1}, {2}".format(*shape))
