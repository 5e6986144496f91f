"""CVAT's XML: "CVAT for images 1.1" and "CVAT for video 1.1".

Objects overlap as in the tool: by z_order, then in file order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from src.data.convert.records import ClassIndex, Labels, Record, Shape, check_unlabelled
from src.data.convert.regions import Polygons, Region, Runs, ellipse, read_ring, rectangle
from src.data.convert.source import Source, merge_records
from src.data.dataset import DatasetError
from src.system.counted import counted

PROBES = 20  # number of XML files to open when recognising the format
SHAPES = ("polygon", "mask", "box", "ellipse")
NO_AREA = ("polyline", "points", "skeleton", "cuboid", "tag")  # skipped

Element = ElementTree.Element


def find(source: Source) -> str | None:
    """Return a CVAT file below the root; None if there is none."""
    return next((source.relative(path) for path in cvat_files(source)), None)


def cvat_files(source: Source) -> Iterator[Path]:
    """Yield the XML files whose root is <annotations>; VOC's have <annotation>."""
    for path in islice(source.label_files(".xml"), PROBES):
        with path.open("rb") as file:
            if b"<annotations>" in file.read(1 << 12):
                yield path


def read(source: Source, unlabelled: str | None) -> Labels:
    """Return the labels of all CVAT files of a source."""
    labels = Labels((), [])
    roots: dict[Path, Element] = {}
    for path in cvat_files(source):
        try:
            roots[path] = parse(path)
        except DatasetError as error:
            labels.faults.append(f"{source.relative(path)}: {error}")
    names = [text for root in roots.values() for text in class_names(root)]
    classes = ClassIndex(names, check_unlabelled(unlabelled, "background"))
    labels.classes, labels.unlabelled = classes.classes, classes.unlabelled
    records: list[Record] = []
    skipped = Counter[str]()
    for path, root in roots.items():
        for image, shapes in [*images_of(root), *frames_of(root)]:
            try:
                records.append(read_image_element(image, shapes, path, source, classes, skipped))
            except DatasetError as error:
                labels.faults.append(f"{source.relative(path)}: {error}")
    merge_records(records, labels)
    labels.notes += [
        f"{counted(count, 'object')} of the type {type_} skipped: without area" for type_, count in skipped.items()
    ]
    labels.notes += classes.notes()
    return labels


def parse(path: Path) -> Element:
    """Return the root of an XML file. Entities are rejected, because they can make a small file fill the memory.

    Raises:
        DatasetError: if it is not XML.
    """
    content = path.read_bytes()
    if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
        raise DatasetError("defines entities, which CVAT's files do not; do not trust this file")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise DatasetError(f"broken XML ({error}); export it again") from error


def class_names(root: Element) -> Iterator[str]:
    """Yield the label names of the task or project, then those of the objects."""
    yield from (element.text or "" for element in root.findall("./meta//labels/label/name"))
    yield from (name for element in root.iter() if element.tag in (*SHAPES, "track") and (name := element.get("label")))


def images_of(root: Element) -> Iterator[tuple[Element, list[tuple[Element, str]]]]:
    """Yield each <image> with its objects and their labels."""
    for image in root.iter("image"):
        yield image, [(shape, shape.get("label", "")) for shape in image]


def frames_of(root: Element) -> Iterator[tuple[Element, list[tuple[Element, str]]]]:
    """Yield an <image> for each frame with tracked objects, named like its file frame_000012, and the objects."""
    frames: dict[int, list[tuple[Element, str]]] = {}
    for track in root.iter("track"):
        for shape in track:
            if shape.get("frame", "").isdecimal() and shape.get("outside") != "1":
                frames.setdefault(int(shape.get("frame", "")), []).append((shape, track.get("label", "")))
    size = {key: root.findtext(f"./meta//original_size/{key}", "") for key in ("width", "height")}
    for frame, shapes in sorted(frames.items()):
        yield Element("image", {"name": f"frame_{frame:06d}", **size}), shapes


def read_image_element(
    image: Element,
    shapes: list[tuple[Element, str]],
    path: Path,
    source: Source,
    classes: ClassIndex,
    skipped: Counter[str],
) -> Record:
    """Return the record of an image, and count its objects without area by type in ``skipped``.

    Raises:
        DatasetError: if the image is missing.
    """
    place, name = source.relative(path), image.get("name", "")
    file = source.find_image(name, path.parent)
    sides = image.get("width", ""), image.get("height", "")
    size = (int(sides[0]), int(sides[1])) if all(side.isdecimal() and int(side) for side in sides) else None
    split = source.split_of(Path(source.root, image.get("subset") or "")) or source.split_of(file)
    record = Record(file, split, place, size)
    for shape, label in shapes:
        try:
            if shape.tag in NO_AREA:
                skipped[shape.tag] += 1
            elif shape.tag in SHAPES:
                if not label:
                    raise DatasetError("has no label")
                level = int(shape.get("z_order") or 0)
                record.shapes.append(Shape(classes[label], read_region(shape), level))
        except (DatasetError, ValueError) as error:
            reason = error if isinstance(error, DatasetError) else "contains something other than numbers"
            record.faults.append(f"{place}: {shape.tag} of {name}: {reason}")
    return record


def read_region(shape: Element) -> Region:
    """Return the region of an object.

    Raises:
        DatasetError: if an attribute is missing or does not fit the others.
        ValueError: if an attribute contains something other than numbers.
    """
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";") if pair]
        return Polygons([read_ring([[float(number) for number in pair] for pair in pairs])])
    degrees = float(shape.get("rotation") or 0)
    if shape.tag == "box":
        x0, y0, x1, y1 = numbers(shape, "xtl", "ytl", "xbr", "ybr")
        return Polygons([rectangle(x0, y0, x1, y1, degrees)])
    if shape.tag == "ellipse":
        x, y, rx, ry = numbers(shape, "cx", "cy", "rx", "ry")
        return Polygons([ellipse(x, y, rx, ry, degrees)])
    left, top, width, height = (int(number) for number in numbers(shape, "left", "top", "width", "height"))
    counts = [int(count) for count in shape.get("rle", "").split(",") if count.strip()]
    if min([width, height, *counts]) < 0 or sum(counts) != width * height:
        raise DatasetError(f"its run lengths do not add up to {width}x{height} pixels")
    return Runs(counts, height, width, by_column=False, top=top, left=left)


def numbers(shape: Element, *names: str) -> list[float]:
    """Return attributes as numbers.

    Raises:
        DatasetError: if one is missing or not finite.
        ValueError: if one is not a number.
    """
    values = [float(shape.get(name, "nan")) for name in names]
    if not np.isfinite(values).all():
        raise DatasetError(f"needs {', '.join(names)}")
    return values
