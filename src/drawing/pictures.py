"""Draw label maps, overlays and comparison sheets."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from src.drawing.fonts import load_font
from src.labels import LabelMap

Picture = UInt8[np.ndarray, "height width 3"]

VOID_COLOUR = (255, 255, 255)
PAPER, INK = (250, 250, 250), (30, 30, 30)
MARGIN, LINE, FONT_SIZE = 8, 20, 13


def colourise(label: LabelMap, palette: UInt8[np.ndarray, "classes 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Return the colour of every pixel's class; void is white."""
    return colour_table(palette)[label]


def colour_table(palette: UInt8[np.ndarray, "classes 3"]) -> UInt8[np.ndarray, "256 3"]:
    """Return the colours of all label values; those without a class are white."""
    table = np.full((256, 3), VOID_COLOUR, np.uint8)
    table[: len(palette)] = palette
    return table


def indexed_image(label: LabelMap, palette: UInt8[np.ndarray, "classes 3"]) -> Image.Image:
    """Return a palette image as in VOC's annotations: pixels are class indices, and viewers show the colours."""
    image = Image.fromarray(label)
    image.putpalette(colour_table(palette).tobytes())
    return image


def overlay(
    image: UInt8[np.ndarray, "height width 3"],
    label: LabelMap,
    palette: UInt8[np.ndarray, "classes 3"],
    opacity: float = 0.5,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image blended with the classes' colours, with the boundaries between classes in white."""
    blend = (1 - opacity) * image + opacity * colourise(label, palette)
    edge = np.zeros(label.shape, bool)
    edge[:-1] |= label[:-1] != label[1:]
    edge[:, :-1] |= label[:, :-1] != label[:, 1:]
    blend[edge] = VOID_COLOUR
    return blend.astype(np.uint8)


def comparison_sheet(
    rows: Sequence[tuple[str, Mapping[str, Picture]]], classes: Sequence[str], palette: UInt8[np.ndarray, "classes 3"]
) -> Image.Image:
    """Return a sheet of pictures: a row for each sample, titles above, and a legend of the classes below.

    Args:
        rows: caption of each row, and its pictures by title; all rows have the same titles.
        classes, palette: for the legend.
    """
    titles = list(rows[0][1])
    width = max(picture.shape[1] for _, pictures in rows for picture in pictures.values())
    heights = [max(picture.shape[0] for picture in pictures.values()) for _, pictures in rows]
    sheet_width = MARGIN + len(titles) * (width + MARGIN)
    legend = legend_lines(classes, sheet_width - 2 * MARGIN)
    height = LINE + MARGIN + sum(h + LINE for h in heights) + MARGIN + len(legend) * LINE + MARGIN
    sheet = Image.new("RGB", (sheet_width, height), PAPER)
    draw = ImageDraw.Draw(sheet)

    for column, title in enumerate(titles):
        draw.text((MARGIN + column * (width + MARGIN), MARGIN), title, INK, load_font(title, FONT_SIZE))
    y = LINE + MARGIN
    for (caption, pictures), row_height in zip(rows, heights, strict=True):
        for column, picture in enumerate(pictures.values()):
            sheet.paste(Image.fromarray(picture), (MARGIN + column * (width + MARGIN), y))
        draw.text((MARGIN, y + row_height + 2), caption, INK, load_font(caption, FONT_SIZE))
        y += row_height + LINE
    y += MARGIN
    for line in legend:
        for x, index in line:
            draw.rectangle((MARGIN + x, y + 3, MARGIN + x + 12, y + 15), tuple(map(int, palette[index])), INK)
            draw.text((MARGIN + x + 18, y + 1), classes[index], INK, load_font(classes[index], FONT_SIZE))
        y += LINE
    return sheet


def legend_lines(classes: Sequence[str], width: float) -> list[list[tuple[float, int]]]:
    """Return the legend's lines as lists of (x in pixels, class index), wrapped at ``width``."""
    lines: list[list[tuple[float, int]]] = [[]]
    x = 0.0
    for index, name in enumerate(classes):
        needed = 18 + load_font(name, FONT_SIZE).getlength(name) + 16
        if lines[-1] and x + needed > width:
            lines.append([])
            x = 0.0
        lines[-1].append((x, index))
        x += needed
    return lines
