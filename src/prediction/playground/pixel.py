"""One pixel as the CRF treats it: its kernel to all others, and its probabilities before and after."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from src.crf import Parameters
from src.data.dataset import Picture


def kernel_from(pixels: Picture, row: int, column: int, parameters: Parameters) -> Float[np.ndarray, "height width"]:
    """Return the pairwise kernel k(i, j) between one pixel i and every pixel j, itself included.

    This is the sum of the bilateral and the Gaussian kernel (Krähenbühl & Koltun, NIPS 2011, equation 3, which calls
    them appearance and smoothness), computed exactly and before the engines' normalisation.

    Args:
        pixels: RGB, uint8 of shape (height, width, 3).
        row, column: of pixel i.
        parameters: of the CRF.

    Returns:
        float64; the largest value is w1 + w2, at pixel i.
    """
    height, width = pixels.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    dy, dx = (rows - row).astype(float), (columns - column).astype(float)
    colour = ((pixels.astype(float) - pixels[row, column]) ** 2).sum(-1)
    p = parameters
    bilateral = np.exp(-((dy / p.sy) ** 2 + (dx / p.sx) ** 2 + colour / p.srgb**2) / 2)
    gaussian = np.exp(-(dy**2 + dx**2) / (2 * p.sg**2))
    return p.w1 * bilateral + p.w2 * gaussian
