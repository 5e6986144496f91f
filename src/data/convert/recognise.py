"""Recognise the format of a source's labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from src.data.convert import coco, cvat, labelme, mask_readers, voc, yolo
from src.data.convert.records import Labels
from src.data.convert.source import Source
from src.data.dataset import DatasetError


class Format(NamedTuple):
    """A label format.

    Attributes:
        title: name for messages.
        signs: what it is recognised by, in words.
        find: returns the file by which a source is recognised; None if it has another format.
        read: returns all labels; takes the source and the meaning of unlabelled pixels (None: the format's default).
        is_last: whether it is recognised only if no other format is.
    """

    title: str
    signs: str
    find: Callable[[Source], str | None]
    read: Callable[[Source, str | None], Labels]
    is_last: bool = False


FORMATS: Mapping[str, Format] = {
    "coco": Format("COCO JSON", "a JSON file with images, annotations and categories", coco.find, coco.read),
    "labelme": Format("labelme JSON", "JSON files with shapes and imagePath", labelme.find, labelme.read),
    "yolo": Format("YOLO segmentation", "a YAML file with names and train", yolo.find, yolo.read),
    "cvat": Format("CVAT XML", "an XML file with annotations", cvat.find, cvat.read),
    "voc": Format("masks in VOC's layout", "a folder SegmentationClass", voc.find, voc.read),
    "masks": Format("images with masks", "masks with the names of images", mask_readers.find, mask_readers.read, True),
}


def recognise(source: Source, format_: str | None = None) -> tuple[Format, str]:
    """Return the format of a source's labels, and the file by which it was recognised.

    Args:
        source: the files.
        format_: the format to read, a key of ``FORMATS``; None to recognise it.

    Raises:
        DatasetError: if no format or more than one is recognised.
    """
    if format_ is not None and format_ not in FORMATS:
        raise DatasetError(f"format={format_}: must be one of {', '.join(FORMATS)}")
    candidates = {format_: FORMATS[format_]} if format_ else FORMATS
    found = {key: evidence for key, format_ in candidates.items() if (evidence := format_.find(source)) is not None}
    if specific := {key: evidence for key, evidence in found.items() if not FORMATS[key].is_last}:
        found = specific
    if not found:
        signs = "; ".join(f"{format_.signs} ({key})" for key, format_ in candidates.items())
        raise DatasetError(f"from={source.given}: no labels found; looked for {signs}")
    if len(found) > 1:
        both = " and ".join(f"{FORMATS[key].title} ({evidence})" for key, evidence in found.items())
        raise DatasetError(f"from={source.given}: contains {both}; choose one, such as format={next(iter(found))}")
    key, evidence = next(iter(found.items()))
    return FORMATS[key], evidence
