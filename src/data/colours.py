"""Colours of classes: VOC's colour map, and masks in which colours stand for classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from src.data.dataset import DatasetError
from src.data.decode import Mask
from src.labels import VOID, LabelMap
from src.system.counted import counted

Colour = Sequence[int]  # RGB in 0..255


class ColourTable:
    """A table from colours to classes and void.

    Args:
        palette: the colour of each class.
        void: the colour of void pixels, or their value in grey and palette masks; None if there are none.

    Raises:
        DatasetError: if two classes have the same colour.
    """

    def __init__(self, palette: Sequence[Colour], void: int | Colour | None) -> None:
        self.void_value = void if isinstance(void, int) else None
        void_colours = [] if void is None or isinstance(void, int) else [void]
        codes = codes_of(np.array([*palette, *void_colours]))
        if len(set(codes.tolist())) < len(codes):
            given = f"palette={[list(colour) for colour in palette]}" + (f" with void={void}" if void_colours else "")
            raise DatasetError(f"{given}: a colour occurs twice")
        order = np.argsort(codes)
        self.codes = codes[order]
        self.classes = np.array([*range(len(palette)), VOID], np.uint8)[order]

    def classes_of(self, mask: Mask, path: Path) -> LabelMap:
        """Return the class of each pixel, by its colour or by its value's colour in the file's palette.

        Raises:
            DatasetError: if a colour is neither in the palette nor void.
        """
        if mask.values.ndim == 3:
            classes, known = self.look_up(mask.values)
            if not known.all():
                count = len(np.unique(codes_of(mask.values[~known])))
                raise DatasetError(
                    f"{path}: {counted(count, 'colour is', 'colours are')} neither in the palette nor void, such as "
                    f"{describe_colours(mask.values[~known])}; give the palette the colour of every class, or save the "
                    "mask again as a PNG whose edges are not smoothed"
                )
            return classes
        if mask.colours is None:
            raise DatasetError(f"{path}: has 16-bit or larger values, which are not colours; set values=[...]")
        classes, known = self.look_up(mask.colours)
        present = np.unique(mask.values)
        if unknown := [value for value in present.tolist() if not known[value] and value != self.void_value]:
            examples = ", ".join(f"{value} ({mask.colours[value].tolist()})" for value in unknown[:3])
            values = counted(len(unknown), "value has a colour that is", "values have colours that are")
            raise DatasetError(
                f"{path}: {values} neither in the palette nor void, such as {examples}; to read masks by value and not "
                "by colour, set values=[0,1,...]"
            )
        return np.where(known, classes, np.uint8(VOID))[mask.values]

    def look_up(
        self, colours: UInt8[np.ndarray, "*shape channels"]
    ) -> tuple[UInt8[np.ndarray, "*shape"], Bool[np.ndarray, "*shape"]]:
        """Return the class of each colour, and whether it has one; alpha is ignored."""
        codes = codes_of(colours)
        place = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        return self.classes[place], self.codes[place] == codes


def codes_of(colours: np.ndarray) -> Int32[np.ndarray, "..."]:
    """Return a number for each colour; the last axis is RGB or RGBA, whose alpha is ignored."""
    return colours[..., :3].astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def describe_colours(colours: UInt8[np.ndarray, "*shape channels"]) -> str:
    """Return the first three distinct colours, sorted, as a string."""
    codes = np.unique(codes_of(colours))[:3].tolist()
    return str([[code >> 16, code >> 8 & 255, code & 255] for code in codes])


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
