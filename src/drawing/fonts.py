"""Fonts for names in any script."""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from PIL import ImageFont

log = logging.getLogger(__name__)
warned: set[str] = set()  # scripts that no installed font has


@functools.cache
def load_font(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font to draw a string with: Pillow's own for ASCII, otherwise the font that ``find_font_file`` finds."""
    return ImageFont.load_default(size) if text.isascii() else ImageFont.truetype(find_font_file(text), size)


@functools.cache
def find_font_file(text: str) -> Path:
    """Return the file of a font that has all letters of a string: DejaVu Sans, or a font installed on this machine.

    If no font has all of them, return the font with the most, and log a letter that will be drawn as a box.
    """
    letters = {ord(letter) for letter in text if letter.isprintable() and not letter.isspace()}
    lacking: dict[Path, set[int]] = {}
    for path, known in read_fonts():
        lacking[path] = letters - known
        if not lacking[path]:
            return path
    best = min(lacking, key=lambda path: len(lacking[path]))
    letter = chr(min(lacking[best]))
    script = unicodedata.name(letter, "?").split()[0]
    if script not in warned:
        warned.add(script)
        log.warning("no installed font has %s (%s), which is drawn as a box: install one, such as Noto", letter, script)
    return best


def read_fonts() -> Iterator[tuple[Path, frozenset[int]]]:
    """Yield the file and the letters of each font: DejaVu Sans, which comes with Matplotlib, and then upright ones."""
    from matplotlib import font_manager, get_data_path

    yield read_font(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    files = map(Path, font_manager.findSystemFonts())
    slanted_or_bold = ("bold", "italic", "oblique", "black", "mono")
    for path in sorted(files, key=lambda path: (any(word in path.name.lower() for word in slanted_or_bold), path)):
        yield read_font(path)


@functools.cache
def read_font(path: Path) -> tuple[Path, frozenset[int]]:
    """Return the file and the code points of its letters; none for a file that cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return path, frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):
        return path, frozenset()
