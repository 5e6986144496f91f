"""Read image and mask files. Training, evaluation, prediction and checks all use these functions.

==============================  ======================================  ====================================
Kind of file                    As an image: RGB, uint8                 As a mask: integers
==============================  ======================================  ====================================
RGB                             as stored                               colours, as stored
16-bit RGB                      the upper 8 bits                        refused
grey                            the same value three times              as stored
1, 2 or 4-bit grey              black to white                          as stored: 0..1, 0..3, 0..15
16-bit grey                     divided by 257                          as stored: 0..65535
palette                         the palette's colours                   as stored: the index, and its colour
alpha, transparent colours      on white                                as stored, without alpha
CMYK                            converted by Pillow                     refused
EXIF orientation                turned upright                          turned upright
MPO (a photo and its preview)   the photo                               refused
JPEG, WebP, JPEG 2000, AVIF     decoded                                 refused: they do not keep values
animations, several pages       refused                                 refused
floats                          refused                                 refused
32-bit integers                 refused                                 as stored
more than 89,478,485 pixels     refused (Pillow's limit)                refused
empty, broken, folders, pipes   refused                                 refused
==============================  ======================================  ====================================

"Refused" means a one-line ``DatasetError`` with the file and the remedy.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image, ImageOps

from src.data.dataset import DatasetError, Picture
from src.data.find_files import name_in_other_case

MaskValues = Integer[np.ndarray, "height width"] | Integer[np.ndarray, "height width channels"]


class Mask(NamedTuple):
    """The content of a mask file.

    Attributes:
        values: a number for each pixel, or its RGB or RGBA.
        colours: the colour of each value 0..255, black for values missing from the file's palette; None if the values
            are colours, or have more than 8 bits.
    """

    values: MaskValues
    colours: UInt8[np.ndarray, "256 3"] | None


MISSING = "missing"  # why a path without a file cannot be opened
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
MASK_FORMATS = ("PNG", "TIFF", "BMP", "GIF")
MASK_MODES = ("1", "L", "LA", "P", "PA", "I", *SIXTEEN_BITS, "RGB", "RGBA")
BITS_PER_SAMPLE, ORIENTATION = 258, 274  # tags of TIFF, the second of EXIF too


def read_image(path: Path) -> Picture:
    """Return the image in a file as upright RGB.

    Raises:
        DatasetError: if the kind of file is refused (see the table above).
    """
    with open_image(path) as image:
        return to_rgb(image, str(path))


def read_mask(path: Path) -> Mask:
    """Return the mask in a file as stored, turned upright.

    Raises:
        DatasetError: if the kind of file is refused (see the table above).
    """
    with open_image(path) as image:
        if image.format not in MASK_FORMATS or is_jpeg_inside(image):
            kind = "JPEG" if image.format in ("MPO", "TIFF") else image.format
            raise DatasetError(f"{path}: {kind} does not keep labels exactly; save the original labels as a PNG")
        refuse_pages(image, str(path))
        if image.mode not in MASK_MODES:
            raise DatasetError(f"{path}: samples of mode {image.mode}; masks must hold whole numbers or RGB colours")
        bits = bits_of(image, path)
        if bits > 8 and image.mode in ("RGB", "RGBA"):
            raise DatasetError(f"{path}: {bits}-bit colours, of which only 8 bits are read; save the mask with 8 bits")
        values = np.array(upright(image))
        palette = image.getpalette() if image.mode in ("P", "PA") else None
    if image.mode in ("LA", "PA"):
        values = values[..., 0]
    if palette is not None:
        return Mask(values, padded(np.array(palette, np.uint8).reshape(-1, 3)))
    if image.mode == "1":
        return Mask(values.astype(np.uint8), padded(grey_ramp(2)))
    if bits in (2, 4) and image.mode == "L":  # Pillow has stretched the values to 0..255
        return Mask(values // np.uint8(255 // (2**bits - 1)), padded(grey_ramp(2**bits)))
    return Mask(values, grey_ramp(256) if image.mode in ("L", "LA") else None)


def to_rgb(image: Image.Image, name: str = "image") -> Picture:
    """Return a Pillow image as upright RGB.

    Args:
        image: the image.
        name: name for error messages.

    Raises:
        DatasetError: if it has several frames or pages, or its samples have no fixed range.
    """
    refuse_pages(image, name)
    is_16_bit = image.mode in SIXTEEN_BITS or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if image.mode in ("I", "F") and not is_16_bit:
        raise DatasetError(f"{name}: 32-bit pixels of unknown range (mode {image.mode}); convert it to 8 bits")
    image = upright(image)
    if is_16_bit:  # Pillow's own conversion clips
        values = np.asarray(image)
        transparent = values == image.info.get("transparency", -1)
        image = Image.fromarray(np.where(transparent, 255, values // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def why_unreadable(path: Path) -> str | None:
    """Return why a path cannot be opened, without opening it; None if it can."""
    try:
        status = path.stat()
    except FileNotFoundError:
        other = name_in_other_case(path)
        hint = f"; {other} exists, and upper and lower case must match: rename one" if other else ""
        return "a broken link" if path.is_symlink() else f"{MISSING}{hint}"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISDIR(status.st_mode):
        return "a folder, not a file"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"  # opening a pipe would block
    if status.st_size == 0:
        return "an empty file; copy it again"
    return None if os.access(path, os.R_OK) else "not readable; check the file's permissions"


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file with Pillow; decoding errors in the block are explained, too.

    Raises:
        DatasetError: if it cannot be opened or decoded, or has too many pixels.
    """
    if reason := why_unreadable(path):
        raise DatasetError(f"{path}: {reason}")
    limit = Image.MAX_IMAGE_PIXELS or sys.maxsize
    too_large = f"more than {limit:,} pixels; cut it into tiles"
    try:
        with Image.open(path) as image:
            if image.width * image.height > limit:
                raise DatasetError(f"{path}: {image.width}x{image.height}, {too_large}")
            yield image
    except DatasetError:
        raise
    except Image.DecompressionBombError as error:
        raise DatasetError(f"{path}: {too_large}") from error
    except Image.UnidentifiedImageError as error:
        raise DatasetError(f"{path}: not an image that Pillow can read; save it as PNG") from error
    except Exception as error:  # Pillow's decoders raise all kinds of errors on broken files
        reason = " ".join(str(error).replace(repr(str(path)), "it").split()) or type(error).__name__
        raise DatasetError(f"{path}: cannot be read ({reason}); copy it again or save it again") from error


def grey_ramp(levels: int) -> UInt8[np.ndarray, "levels 3"]:
    """Return the colours of grey values 0..levels - 1, from black to white."""
    return np.linspace(0, 255, levels).round().astype(np.uint8)[:, None].repeat(3, 1)


def padded(colours: UInt8[np.ndarray, "colours 3"]) -> UInt8[np.ndarray, "256 3"]:
    """Return a colour table padded with black to 256 colours."""
    return np.pad(colours, ((0, 256 - len(colours)), (0, 0)))


def upright(image: Image.Image) -> Image.Image:
    """Return an image turned by its EXIF orientation; the same image if it has none."""
    return ImageOps.exif_transpose(image) if image.getexif().get(ORIENTATION, 1) != 1 else image


def refuse_pages(image: Image.Image, name: str) -> None:
    """Raise ``DatasetError`` if a file has several frames or pages. MPO is allowed: a photo and its preview."""
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise DatasetError(f"{name}: {frames} frames or pages; save the one you want as a separate file")


def is_jpeg_inside(image: Image.Image) -> bool:
    """Tell whether an image is a TIFF with JPEG compression."""
    return image.format == "TIFF" and "jpeg" in str(image.info.get("compression", ""))


def bits_of(image: Image.Image, path: Path) -> int:
    """Return the bits per sample: 1 to 16 in a PNG or TIFF; 8 for all other formats."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # in its header: signature 8, length and name of the chunk 8, width 4, height 4
    if image.format == "TIFF":
        return int(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))[0])
    return 8
