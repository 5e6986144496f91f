"""Image and mask files into arrays; whatever is wrong with one is said in a line."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from src.data.dataset import DatasetError

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow clips them where it converts to RGB


def why_unreadable(path: Path) -> str | None:
    """What keeps a path from being opened, without opening it; None where nothing does."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "a link to nothing" if path.is_symlink() else "missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISDIR(status.st_mode):
        return "a folder, where a file should be"
    if not stat.S_ISREG(status.st_mode):
        return "neither a file nor a link to one"  # a pipe would block whoever opens it
    if status.st_size == 0:
        return "an empty file"
    return None if os.access(path, os.R_OK) else "may not be read (file permissions)"


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """RGB as stored: transparency is dropped, an EXIF orientation is left alone.

    Raises:
        DatasetError: if the file cannot be decoded, or has more than 8 bits a channel.
    """
    with opened(path) as image:
        if image.mode in DEEP_MODES:
            raise DatasetError(f"{path}: more than 8 bits a channel ({image.mode}); convert the image to 8 bits")
        return decoded(path, lambda: image.convert("RGB"))


def read_mask(path: Path) -> np.ndarray:
    """The values of a mask as stored: (height, width) of integers, or (height, width, channels) where it has colours.

    Raises:
        DatasetError: if the file cannot be decoded, or is a JPEG, which does not keep values.
    """
    with opened(path) as image:
        if image.format in ("JPEG", "MPO"):
            raise DatasetError(f"{path}: a JPEG, which blurs labels; masks must be PNGs made from the original labels")
        values = decoded(path, lambda: image)
        return values.astype(np.uint8) if values.dtype == bool else values


def opened(path: Path) -> Image.Image:
    if reason := why_unreadable(path):
        raise DatasetError(f"{path}: {reason}")
    try:
        return Image.open(path)
    except Image.DecompressionBombError as error:
        raise DatasetError(f"{path}: too large ({error}); cut it into tiles") from error
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        raise DatasetError(f"{path}: cannot be read ({reason_of(error, path)})") from error


def decoded(path: Path, decode: Callable[[], Image.Image]) -> np.ndarray:
    try:
        return np.asarray(decode())
    except Exception as error:  # likewise
        raise DatasetError(f"{path}: cannot be read ({reason_of(error, path)})") from error


def reason_of(error: Exception, path: Path) -> str:
    """In one line, and without the path, which stands before it already."""
    if "cannot identify image file" in str(error):
        return "no image of a known kind"
    return " ".join(str(error).replace(repr(str(path)), "it").split()) or type(error).__name__
