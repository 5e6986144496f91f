"""labelme's JSON (Wada, github.com/wkentaro/labelme): a file next to each image, with its shapes in drawing order."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.data.convert.records import ClassIndex, Labels, Record, Shape, check_unlabelled
from src.data.convert.regions import Bitmap, Polygons, Region, ellipse, read_points, read_ring, rectangle
from src.data.convert.source import Source, merge_records, read_json, read_text
from src.data.dataset import DatasetError
from src.system.counted import counted

PROBES = 20  # number of JSON files to open when recognising the format
CLASS_LIST = "labels.txt"  # as in: labelme --labels labels.txt
NO_AREA = ("line", "linestrip", "point", "points")  # skipped


def find(source: Source) -> str | None:
    """Return a labelme file below the root; None if there is none."""
    paths = islice(source.label_files(".json"), PROBES)
    return next((source.relative(path) for path in paths if is_labelme(path)), None)


def is_labelme(path: Path) -> bool:
    """Tell whether a JSON file was written by labelme."""
    try:
        content = read_json(path)
    except DatasetError:
        return False
    return isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys()


def read(source: Source, unlabelled: str | None) -> Labels:
    """Return the labels of all JSON files of a source."""
    labels = Labels((), [])
    contents: dict[Path, dict[str, Any]] = {}
    for path in source.label_files(".json"):
        try:
            content = read_json(path)
            if isinstance(content, dict) and isinstance(content.get("shapes"), list):
                contents[path] = content
            else:
                raise DatasetError("has no list of shapes, as labelme's files have")
        except DatasetError as error:
            labels.faults.append(f"{source.relative(path)}: {error}")
    shapes = [shape for content in contents.values() for shape in content["shapes"] if isinstance(shape, dict)]
    used = {shape["label"].strip() for shape in shapes if isinstance(shape.get("label"), str)} - {""}
    listed = read_class_list(source)
    classes = ClassIndex([*listed, *sorted(used - set(listed))], check_unlabelled(unlabelled, "background"))
    labels.classes, labels.unlabelled = classes.classes, classes.unlabelled
    records = []
    skipped = Counter[str]()
    for path, content in contents.items():
        try:
            records.append(read_file(content, path, source, classes, skipped))
        except DatasetError as error:
            labels.faults.append(f"{source.relative(path)}: {error}")
    merge_records(records, labels)
    labels.notes += [
        f"{counted(count, 'shape')} of the type {type_} skipped: without area" for type_, count in skipped.items()
    ]
    labels.notes += classes.notes()
    return labels


def read_class_list(source: Source) -> list[str]:
    """Return the names in labels.txt, which defines the class order; an empty list if it does not exist."""
    paths = [path for path in source.label_files(".txt") if path.name == CLASS_LIST]
    return [line.strip() for path in paths[:1] for line in read_text(path).splitlines() if line.strip()]


def read_file(
    content: Mapping[str, Any], path: Path, source: Source, classes: ClassIndex, skipped: Counter[str]
) -> Record:
    """Return the record of one file, and count its shapes without area by type in ``skipped``.

    Raises:
        DatasetError: if its image is neither stored in the file nor found.
    """
    place = source.relative(path)
    name = content.get("imagePath")
    try:
        image = source.find_image(name if isinstance(name, str) else "", path.parent)
    except DatasetError as missing:
        image = extract_image(content.get("imageData"), path, source, missing)
    width, height = content.get("imageWidth"), content.get("imageHeight")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) and width and height else None
    record = Record(image, source.split_of(path), place, size)
    for index, shape in enumerate(content["shapes"]):
        try:
            if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"].strip():
                raise DatasetError("has no label")
            if (type_ := shape.get("shape_type") or "polygon") in NO_AREA:
                skipped[type_] += 1
            else:
                record.shapes.append(Shape(classes[shape["label"]], read_region(shape, type_), level=0))
        except DatasetError as error:
            record.faults.append(f"{place}: shape {index + 1}: {error}")
    return record


def extract_image(data: Any, path: Path, source: Source, missing: DatasetError) -> Path:
    """Write the image embedded in a labelme file to the source's scratch folder, and return its path.

    Raises:
        DatasetError: if no image is embedded, or it cannot be read.
    """
    if not isinstance(data, str) or not data:
        raise missing
    try:
        content = base64.b64decode(data, validate=True)
        with Image.open(io.BytesIO(content)) as image:
            ending = {"JPEG": "jpg", "MPO": "jpg"}.get(image.format or "", (image.format or "png").lower())
    except (binascii.Error, ValueError, OSError, Image.DecompressionBombError) as error:
        raise DatasetError("its embedded image cannot be read; export it again") from error
    target = source.scratch / "embedded" / Path(source.relative(path)).with_suffix(f".{ending}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def read_region(shape: Mapping[str, Any], type_: str) -> Region:
    """Return the region of a shape.

    Raises:
        DatasetError: if its type is unknown, or it is invalid.
    """
    points = shape.get("points")
    if not isinstance(points, list) or not all(isinstance(point, (list, tuple)) for point in points):
        raise DatasetError("has no points")
    if type_ == "polygon" or (type_ == "rectangle" and len(points) == 4):
        return Polygons([read_ring(points)])
    if type_ not in ("rectangle", "circle", "mask"):
        raise DatasetError(f"has the unknown type {type_}")
    if len(points) != 2:
        raise DatasetError(f"a {type_} has 2 points, this one {len(points)}")
    (x0, y0), (x1, y1) = read_points(points).tolist()
    if type_ == "rectangle":
        return Polygons([rectangle(x0, y0, x1, y1)])
    if type_ == "circle":  # its centre, and a point on it
        radius = math.hypot(x1 - x0, y1 - y0)
        return Polygons([ellipse(x0, y0, radius, radius)])
    return read_mask(shape.get("mask"), min(x0, x1), min(y0, y1))


def read_mask(data: Any, left: float, top: float) -> Bitmap:
    """Return a mask stored as a base64 PNG, placed at the first point, rounded to whole pixels.

    Raises:
        DatasetError: if it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            return Bitmap(np.array(image.convert("L")) > 0, round(top), round(left))
    except (TypeError, binascii.Error, ValueError, OSError, Image.DecompressionBombError) as error:
        raise DatasetError("its mask is not a PNG in base64") from error
