"""COCO JSON (Lin et al., ECCV 2014): the instances of COCO, CVAT, Roboflow, Label Studio and others.

A smaller object covers a larger one; crowds and objects marked as "ignore" are void, and are covered by all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from src.data.convert.records import ClassIndex, Labels, Record, Shape, check_unlabelled
from src.data.convert.regions import Polygons, Region, Runs, decode_counts, read_ring
from src.data.convert.source import Source, merge_records, read_json
from src.data.dataset import DatasetError
from src.labels import VOID

PROBES = 20  # number of JSON files to open when recognising the format
CROWD_LEVEL = 0


def find(source: Source) -> str | None:
    """Return a COCO file below the root; None if there is none."""
    return next((source.relative(path) for path in coco_files(source, PROBES)), None)


def coco_files(source: Source, probes: int | None = None) -> list[Path]:
    """Return the COCO files among the first JSON files; if some are named instances..., only these.

    COCO's releases list the same images again in captions_... and person_keypoints_...
    """
    found = [path for path in islice(source.label_files(".json"), probes) if is_coco(path)]
    return [path for path in found if path.name.startswith("instances")] or found


def is_coco(path: Path) -> bool:
    """Tell whether a file is a COCO file with categories, by its content or, if broken, by its start."""
    try:
        content = read_json(path)
    except DatasetError:
        with path.open("rb") as file:
            beginning = file.read(1 << 20)
        return all(f'"{key}"'.encode() in beginning for key in ("images", "file_name"))
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def read(source: Source, unlabelled: str | None) -> Labels:
    """Return the labels of all COCO files of a source."""
    contents: dict[Path, dict[str, Any]] = {}
    labels = Labels((), [])
    for path in coco_files(source):
        try:
            contents[path] = check_content(read_json(path))
        except DatasetError as error:
            labels.faults.append(f"{source.relative(path)}: {error}")
    categories: dict[Path, dict[Any, str]] = {}
    for path, content in contents.items():
        entries = sorted(content["categories"], key=lambda entry: (isinstance(entry["id"], str), entry["id"]))
        categories[path] = {entry["id"]: entry["name"] for entry in entries}
        if (root := find_root(content)) is not None:
            labels.notes.append(f"category {categories[path].pop(root)!r} is a heading for the others, not a class")
    names = [name for named in categories.values() for name in named.values()]
    classes = ClassIndex(names, check_unlabelled(unlabelled, "background"))
    labels.classes, labels.unlabelled = classes.classes, classes.unlabelled
    labels.notes += classes.notes()
    records: list[Record] = []
    for path, content in contents.items():
        indices = {id_: classes[name] for id_, name in categories[path].items()}
        records += read_file(content, path, source, indices, labels)
    merge_records(records, labels)
    return labels


def check_content(content: Any) -> dict[str, Any]:
    """Return the content of a file after checking the types of its parts.

    Raises:
        DatasetError: if a type is wrong.
    """
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DatasetError(f'has no list "{key}"')
    if any("segments_info" in annotation for annotation in content["annotations"]):
        raise DatasetError("has panoptic labels (segments_info); export instances, or give a folder of masks")
    for category in content["categories"]:
        if not isinstance(category.get("id"), (int, str)) or not isinstance(category.get("name"), str):
            raise DatasetError(f"the category {category} needs an id and a name")
    for entry in content["images"]:
        if not isinstance(entry.get("id"), (int, str)):
            raise DatasetError(f"the image {entry.get('file_name')} needs an id")
    return content


def find_root(content: Mapping[str, Any]) -> Any:
    """Return the id of the category that Roboflow adds as a heading for all others; None if there is none."""
    used = {annotation.get("category_id") for annotation in content["annotations"]}
    headings = {category.get("supercategory") for category in content["categories"]}
    for category in content["categories"]:
        is_heading = category["name"] in headings and category.get("supercategory") in (None, "none", "")
        if is_heading and category["id"] not in used and len(content["categories"]) > 1:
            return category["id"]
    return None


def read_file(
    content: Mapping[str, Any], path: Path, source: Source, classes: Mapping[Any, int], labels: Labels
) -> list[Record]:
    """Return the records of one file; faults that belong to no image are added to ``labels.faults``."""
    place, split = source.relative(path), source.split_of(path)
    records: dict[Any, Record | None] = {}  # None: its image is missing
    for entry in content["images"]:
        id_, name = entry["id"], entry.get("file_name")
        try:
            if id_ in records:
                raise DatasetError("the id occurs twice")
            records[id_] = None
            image = source.find_image(name if isinstance(name, str) else "", path.parent)
            records[id_] = Record(image, split or source.split_of(image), place, read_size(entry))
        except DatasetError as error:
            labels.faults.append(f"{place}: image {id_}: {error}")
    crowds = 0
    for annotation in content["annotations"]:
        where, image_id = f"{place}: annotation {annotation.get('id')}", annotation.get("image_id")
        if not isinstance(image_id, (int, str)) or image_id not in records:
            labels.faults.append(f"{where}: belongs to image {image_id}, which is not listed")
        elif record := records[image_id]:
            try:
                record.shapes.append(read_shape(annotation, record, classes))
                crowds += record.shapes[-1].level == CROWD_LEVEL
            except DatasetError as error:
                record.faults.append(f"{where} of {record.image.name}: {error}")
    if crowds:
        labels.notes.append(f"{place}: {crowds:,} crowds and ignored objects are void")
    return [record for record in records.values() if record]


def read_size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the width and height of an image's entry; None if they are missing or 0."""
    width, height = entry.get("width"), entry.get("height")
    if isinstance(width, (int, float)) and isinstance(height, (int, float)) and width > 0 and height > 0:
        return int(width), int(height)
    return None


def read_shape(annotation: Mapping[str, Any], record: Record, classes: Mapping[Any, int]) -> Shape:
    """Return the shape of an annotation.

    Raises:
        DatasetError: if its category is unknown, or its region is invalid or not of the image's size.
    """
    category = annotation.get("category_id")
    if not isinstance(category, (int, str)) or category not in classes:
        raise DatasetError(f"belongs to category {category}, which is not listed")
    region = read_region(annotation.get("segmentation"))
    if isinstance(region, Runs):
        record.size = record.size or (region.width, region.height)
        if record.size != (region.width, region.height):
            raise DatasetError(
                f"its mask is {region.width}x{region.height}, its image {record.size[0]}x{record.size[1]}"
            )
    if annotation.get("iscrowd") or annotation.get("ignore"):
        return Shape(VOID, region, CROWD_LEVEL)
    return Shape(classes[category], region)


def read_region(segmentation: Any) -> Region:
    """Return the region of an annotation: a list of polygons, or run lengths, compressed or not.

    Raises:
        DatasetError: if it is neither, or invalid.
    """
    if isinstance(segmentation, dict):
        return read_runs(segmentation)
    if not segmentation or not isinstance(segmentation, list):
        raise DatasetError("has no outline, perhaps only a box; label it with a polygon or a mask")
    if isinstance(segmentation[0], (int, float)):  # some tools omit the outer brackets
        segmentation = [segmentation]
    return Polygons([read_ring(numbers) for numbers in segmentation])


def read_runs(segmentation: Mapping[str, Any]) -> Runs:
    """Return the mask of run lengths.

    Raises:
        DatasetError: if they do not fill the mask.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise DatasetError(f"its run lengths have the size {size}, which must be [height, width]")
    try:
        lengths = decode_counts(counts) if isinstance(counts, str) else np.array(counts, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"its run lengths are broken ({error})") from error
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != math.prod(size):
        raise DatasetError(f"its run lengths do not add up to {size[1]}x{size[0]} pixels")
    return Runs(lengths.tolist(), size[0], size[1], by_column=True)
