"""Colours for classes."""

import numpy as np
from jaxtyping import UInt8


def voc_palette(colours: int) -> UInt8[np.ndarray, "colours 3"]:
    """The devkit's colour map (VOClabelcolormap.m): the index's bits, lowest first, go to r, g, b from bit 7 down."""
    index = np.arange(colours)
    palette = np.zeros((colours, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((index >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return palette
