"""Colours for classes."""

import numpy as np
from jaxtyping import UInt8


def voc_palette(colours: int) -> UInt8[np.ndarray, "colours 3"]:
    """Return the colour map of VOC's devkit (VOClabelcolormap.m), RGB.

    The bits of an index, lowest first, become the bits of red, green and blue in turn, from bit 7 down.
    """
    index = np.arange(colours)
    palette = np.zeros((colours, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((index >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return palette
