"""Natural images, and synthetic scores like those of a network: smooth, at stride 8, with a few probable classes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


def data_folder() -> Path:
    given = os.environ.get("DEEPLAB_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"


def read_image(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    """Return an image file as uint8, 3 x height x width; ``size`` is (height, width)."""
    picture = Image.open(path).convert("RGB")
    if size is not None:
        picture = picture.resize(size[::-1])
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def network_like_scores(size: tuple[int, int], classes: int, seed: int = 0, present: int = 5) -> Tensor:
    """Return a float32 score map (classes x rows x columns) at stride 8 for an image of ``size``."""
    rows, columns = (-(-(side - 1) // 8) + 1 for side in size)
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, classes, max(2, rows // 8), max(2, columns // 8), generator=random)
    scores = 4 * functional.interpolate(coarse, (rows, columns), mode="bicubic", align_corners=True)[0]
    scores += 0.5 * torch.randn(scores.shape, generator=random)
    scores[present:] -= 14
    return scores


def symmetric(classes: int, seed: int = 0) -> Tensor:
    """Return random costs of one class beside another: classes x classes, symmetric, 0 on the diagonal, 0..2 off it."""
    costs = torch.rand(classes, classes, generator=torch.Generator().manual_seed(seed))
    return (costs + costs.T).fill_diagonal_(0)


def engine_or_skip(name: str) -> str:
    if name == "pydensecrf":
        pytest.importorskip("pydensecrf", reason='pydensecrf is not installed: pip install "deeplab-v1[pydensecrf]"')
    if name == "native":
        from src.crf.engines import native_engine

        if native_engine.missing_reason() is not None:
            pytest.skip(f"native engine: {native_engine.missing_reason()}")
    return name
