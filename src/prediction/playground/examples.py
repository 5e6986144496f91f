"""Images to choose from on the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from src.data import Shapes
from src.data.dataset import Picture
from src.data.decode import read_image
from src.prediction.inputs import find_images
from src.prediction.playground.scenes import shrink
from src.system.errors import UserError, name_settings

GENERATED, SIZE, MOST = 4, 321, 12


class Examples:
    """Images of the user's, or generated ones.

    Args:
        folder: holds the images, of which the first ones are taken; None for generated images.

    Raises:
        UserError: if the folder holds no images.
    """

    def __init__(self, folder: str | None) -> None:
        self.files: list[Path] = find_example_files(folder) if folder else []
        self.names: Sequence[str] = [path.name for path in self.files] or [
            f"generated {i + 1}" for i in range(GENERATED)
        ]

    def source(self, index: int) -> Path | Picture:
        """Return the file of an example, or its pixels if it is generated."""
        return self.files[index] if self.files else Shapes("val", {"val": GENERATED}, SIZE)[index].image

    def read(self, index: int, side: int) -> Picture:
        """Return an example, shrunk to a longest side of ``side`` pixels.

        Raises:
            UserError: if it cannot be read.
        """
        source = self.source(index)
        return shrink(read_image(source) if isinstance(source, Path) else source, side)


def find_example_files(folder: str) -> list[Path]:
    """Return the first images below a folder, or that match a pattern.

    Raises:
        UserError: if there are none.
    """
    try:
        return find_images(folder)[1][:MOST]
    except UserError as error:
        raise UserError(name_settings(str(error), {"input": "examples"})) from error
