"""The feature vectors of the two kernels: each kernel is a Gaussian of unit width in its feature space."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def position_features(
    height: int, width: int, sy: float, sx: float, device: torch.device | None = None
) -> Float[Tensor, "pixels 2"]:
    """Return (x / sx, y / sy) of every pixel, row by row."""
    y = torch.arange(height, dtype=torch.float32, device=device) / sy
    x = torch.arange(width, dtype=torch.float32, device=device) / sx
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1).reshape(-1, 2)


def bilateral_features(
    image: Shaped[Tensor, "3 height width"], sy: float, sx: float, srgb: float
) -> Float[Tensor, "pixels 5"]:
    """Return (x / sx, y / sy, r / srgb, g / srgb, b / srgb) of every pixel, row by row."""
    position = position_features(image.shape[1], image.shape[2], sy, sx, image.device)
    return torch.cat([position, image.reshape(3, -1).T.float() / srgb], 1)
