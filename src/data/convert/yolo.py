"""YOLO segmentation as written by Ultralytics, Roboflow and CVAT: data.yaml, and a text file of outlines per image.

Smaller objects cover larger ones. An image without a text file has no objects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from src.data.convert.records import ClassIndex, Labels, Record, Shape, check_unlabelled
from src.data.convert.regions import Polygons
from src.data.convert.source import Source, merge_records, read_text
from src.data.dataset import DatasetError
from src.data.find_files import files_below, is_image
from src.system.counted import counted

SPLITS = ("train", "val", "test")
TOLERANCE = 0.5  # how far a coordinate may be outside 0..1; pixel coordinates are further


def find(source: Source) -> str | None:
    """Return the data.yaml below the root; None if there is none."""
    return next((source.relative(path) for path in yaml_files(source)), None)


def yaml_files(source: Source) -> list[Path]:
    """Return the YAML files that name classes and splits."""
    return [
        path
        for path in source.label_files(".yaml", ".yml")
        if "names" in (content := read_yaml(path)) and any(content.get(split) for split in SPLITS)
    ]


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file; an empty dict if it is not a mapping."""
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, DatasetError):
        return {}
    return content if isinstance(content, dict) else {}


def read(source: Source, unlabelled: str | None) -> Labels:
    """Return the labels of all images that data.yaml lists.

    Raises:
        DatasetError: if there are several such files, or the class names are invalid.
    """
    path, *others = yaml_files(source)
    if others:
        raise DatasetError(f"{path} and {others[0]} both name classes and splits; choose one of them: from=FILE")
    content = read_yaml(path)
    names = class_names(content["names"], source.relative(path))
    classes = ClassIndex(names.values(), check_unlabelled(unlabelled, "background"))
    indices = {number: classes[name] for number, name in names.items()}
    labels = Labels(classes.classes, [], classes.unlabelled, notes=classes.notes())
    records = []
    for split in SPLITS:
        entries = content.get(split)
        for entry in filter(None, entries if isinstance(entries, list) else [entries]):
            images, faults = images_of(str(entry), content, path, source)
            records += [read_record(image, split, source, indices) for image in images]
            labels.faults += [f"{source.relative(path)}: {split}: {fault}" for fault in faults]
    merge_records(records, labels)
    return labels


def class_names(names: Any, place: str) -> dict[int, str]:
    """Return the name of each class by its number, from a list or mapping in data.yaml.

    Raises:
        DatasetError: if it is neither a list nor a mapping.
    """
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(isinstance(number, int) for number in names):
        raise DatasetError(f"{place}: names must be a list, or a mapping of numbers to names")
    return {number: str(names[number]) for number in sorted(names)}


def images_of(entry: str, content: Mapping[str, Any], path: Path, source: Source) -> tuple[list[Path], list[str]]:
    """Return the images of an entry in data.yaml, a folder or a text file that lists images, and all faults.

    Paths may come from another machine, or start one folder too high, as Roboflow's do: leading parts that do not exist
    are dropped.
    """
    folders = [path.parent / str(content.get("path") or ""), path.parent]
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    place = next((f / tail for tail in tails for f in folders if (f / tail).exists()), None)
    if place is None and source.images is not None:
        place = next((source.images / tail for tail in [*tails, ""] if (source.images / tail).exists()), None)
    if place is None:
        return [], [f"{entry} is missing; set images_from=FOLDER to the folder of the images"]
    if place.is_dir():
        found = [image for image in sorted(files_below(place)) if is_image(image.name)]
        return found, [] if found else [f"{entry} contains no images"]
    images, faults = [], []
    try:
        for line in filter(str.strip, read_text(place).splitlines()):
            try:
                images.append(source.find_image(line, path.parent))
            except DatasetError as error:
                faults.append(str(error))
    except DatasetError as error:
        faults.append(f"{entry}: {error}")
    return images, faults


def read_record(image: Path, split: str, source: Source, classes: Mapping[int, int]) -> Record:
    """Return the record of an image, with the objects in its text file."""
    path = label_file(image, source)
    if path is None:
        return Record(image, split, source.relative(image))
    record = Record(image, split, source.relative(path))
    try:
        lines = read_text(path).splitlines()
    except DatasetError as error:
        record.faults.append(f"{record.source}: {error}")
        return record
    for number, line in enumerate(lines, 1):
        try:
            if words := line.split():
                record.shapes.append(read_line(words, classes))
        except DatasetError as error:
            record.faults.append(f"{record.source}, line {number}: {error}")
    return record


def label_file(image: Path, source: Source) -> Path | None:
    """Return the text file of an image, whose path has "labels" instead of "images"; None if there is none."""
    parts = image.parts
    for index in reversed(range(len(parts) - 1)):
        if parts[index] == "images":
            path = Path(*parts[:index], "labels", *parts[index + 1 :]).with_suffix(".txt")
            if path.is_file():
                return path
    sibling = image.with_suffix(".txt")
    if sibling.is_file():
        return sibling
    if source.images is not None and image.is_relative_to(source.images):  # images and labels are in different places
        name = f"{image.stem}.txt"
        found = [path for path in source.files if path.name == name and "labels" in path.parts]
        return found[0] if len(found) == 1 else None
    return None


def read_line(words: list[str], classes: Mapping[int, int]) -> Shape:
    """Return the object on a line: its class, and x and y of each corner as fractions of the image's sides.

    Raises:
        DatasetError: if the line is invalid.
    """
    try:
        number, *values = (float(word) for word in words)
    except ValueError as error:
        raise DatasetError("contains something other than numbers") from error
    if number not in classes:
        raise DatasetError(f"class {words[0]} is not in the list of names")
    if len(values) == 4:
        raise DatasetError("a box instead of an outline; these are detection labels")
    if len(values) < 6 or len(values) % 2:
        raise DatasetError(f"{counted(len(values), 'coordinate')}; an outline needs x and y of at least 3 corners")
    if not all(math.isfinite(value) and -TOLERANCE <= value <= 1 + TOLERANCE for value in values):
        raise DatasetError("coordinates must be fractions of the image's sides, 0 to 1")
    return Shape(classes[int(number)], Polygons([np.array(values).reshape(-1, 2)], are_fractions=True))
