"""Convert predicted label maps to annotations for labelling tools: labelme's JSON or COCO's entries for an image.

Each connected part of a class is an object. The class named background is not written, because pixels outside objects
are background. ``python -m src.prepare from=...`` reads both formats and restores the same label map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from src.data.convert.records import is_background
from src.labels import LabelMap
from src.prediction.results.outlines import find_parts


def background_indices(classes: Sequence[str]) -> set[int]:
    """Return the index of the class named background; empty if there is none."""
    return {index for index, name in enumerate(classes) if is_background(name)}


def labelme_content(label: LabelMap, classes: Sequence[str], image: str) -> dict[str, Any]:
    """Return the content of a labelme file for an image.

    Args:
        label: the label map.
        classes: names of the classes.
        image: path of the image, relative to the file's folder.
    """
    shapes = []
    for number, part in enumerate(find_parts(label, background_indices(classes)), start=1):
        for polygon in part.polygons:
            shapes.append(
                {
                    "label": classes[part.label],
                    "points": polygon.tolist(),
                    "group_id": number if len(part.polygons) > 1 else None,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,  # labelme reads it from the path
        "imageHeight": label.shape[0],
        "imageWidth": label.shape[1],
    }


def coco_categories(classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return COCO's categories: all classes except the background, with ids from 1."""
    names = [name for name in classes if not is_background(name)]
    return [{"id": id_, "name": name, "supercategory": ""} for id_, name in enumerate(names, start=1)]


def coco_annotations(label: LabelMap, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return COCO's annotations of an image, without annotation and image ids."""
    ids = {category["name"]: category["id"] for category in coco_categories(classes)}
    return [
        {
            "category_id": ids[classes[part.label]],
            "segmentation": [polygon.ravel().tolist() for polygon in part.polygons],
            "area": part.area,
            "bbox": list(part.box),
            "iscrowd": 0,
        }
        for part in find_parts(label, background_indices(classes))
    ]
