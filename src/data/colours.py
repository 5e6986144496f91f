"""Masks whose colours stand for classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from src.data.dataset import DatasetError
from src.labels import VOID, LabelMap

Colour = Sequence[int]  # RGB in 0..255


class ColourTable:
    """Which class, or void, each colour stands for.

    Args:
        palette: a colour for each class.
        void: the colour of pixels that do not count, or None.
    """

    def __init__(self, palette: Sequence[Colour], void: Colour | None) -> None:
        colours = [*palette, *([] if void is None else [void])]
        codes = codes_of(np.array(colours))
        if len(set(codes.tolist())) < len(colours):
            given = f"palette={[list(colour) for colour in palette]}" + ("" if void is None else f" with void={void}")
            raise DatasetError(f"{given}: one colour is there twice")
        order = np.argsort(codes)
        self.codes = codes[order]
        self.classes = np.array([*range(len(palette)), VOID], np.uint8)[order]

    def classes_of(self, mask: UInt8[np.ndarray, "height width _"], path: Path) -> LabelMap:
        """Class indices of a mask in RGB or RGBA.

        Raises:
            DatasetError: naming colours that stand for nothing.
        """
        codes = codes_of(mask)
        place = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        if (strange := np.unique(codes[self.codes[place] != codes])).size:
            colours = [[int(code) >> 16, int(code) >> 8 & 255, int(code) & 255] for code in strange[:3]]
            raise DatasetError(
                f"{path}: {strange.size} colours are neither in the palette nor void, such as {colours}; "
                "edges may have been smoothed"
            )
        return self.classes[place]


def codes_of(colours: np.ndarray) -> Int32[np.ndarray, "..."]:
    """RGB (and alpha, which is ignored) in the last dimension -> one number."""
    return colours[..., :3].astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
