"""Draw the shapes of a record into a label map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from src.data.convert.records import MaskReader, Record, Shape
from src.data.dataset import DatasetError
from src.data.decode import ORIENTATION, open_image, read_image, read_mask, upright
from src.labels import LabelMap


def paint(record: Record, unlabelled: int, masks: MaskReader | None = None) -> LabelMap:
    """Return the label map of a record, with the size of its upright image.

    Labels that fit the stored image, before EXIF rotation, are rotated with it.

    Args:
        record: an image with shapes or a mask.
        unlabelled: the label of pixels that no shape covers.
        masks: the reader of the record's mask, if it has one.

    Raises:
        DatasetError: if a file cannot be read, or image and labels differ in size.
    """
    height, width = read_image(record.image).shape[:2]
    with open_image(record.image) as image:
        stored, orientation = image.size, image.getexif().get(ORIENTATION, 1)
    if record.mask is not None and masks is not None:
        label = masks.classes_of(read_mask(record.mask), record.mask)
    else:
        columns, rows = record.size or (width, height)
        check_size((columns, rows), (width, height), stored)
        label = draw(record.shapes, rows, columns, unlabelled)
    if label.shape == (height, width):
        return label
    check_size(label.shape[::-1], (width, height), stored)
    picture = Image.fromarray(label)
    picture.getexif()[ORIENTATION] = orientation
    return np.array(upright(picture))


def check_size(labels: Sequence[int], image: tuple[int, int], stored: tuple[int, int]) -> None:
    """Raise ``DatasetError`` if labels match neither the upright nor the stored image in size."""
    if tuple(labels) not in (image, stored):
        raise DatasetError(
            f"the labels are for {labels[0]}x{labels[1]} pixels, the image has {image[0]}x{image[1]}; "
            "use the image that was labelled"
        )


def draw(shapes: Sequence[Shape], height: int, width: int, unlabelled: int) -> LabelMap:
    """Return a label map of shapes; ``Shape.level`` determines which shapes are on top."""
    label = np.full((height, width), unlabelled, np.uint8)
    patches = [shape.region.patch(height, width) for shape in shapes]

    def order(index: int) -> tuple[bool, int]:
        level = shapes[index].level
        return (True, -int(patches[index].inside.sum())) if level is None else (False, level)

    for index in sorted(range(len(shapes)), key=order):
        top, left, inside = patches[index]
        rows, columns = inside.shape
        label[top : top + rows, left : left + columns][inside] = shapes[index].label
    return label
