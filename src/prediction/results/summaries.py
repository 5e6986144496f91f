"""Files that summarise all images of predict: class fractions as CSV, and annotations as COCO JSON.

They are computed from the masks in the output folder after all images have been labelled, so a command that was stopped
and repeated writes the same files as an uninterrupted one. Existing entries of a file are kept.
"""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import numpy as np

from src.data.decode import read_mask
from src.labels import LabelMap
from src.prediction.results.annotations import coco_annotations, coco_categories
from src.prediction.results.files import save
from src.system.errors import UserError
from src.system.progress import tracked

Entry = TypeVar("Entry")
TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}  # file names may be undecodable


class Summary(ABC, Generic[Entry]):
    """A file with an entry for each image in an output folder.

    Args:
        path: the file. If it exists, its entries are kept.
        classes: names of the classes.
        replace: whether to replace a file that cannot be read.

    Raises:
        UserError: if the file exists, is not a summary with these classes, and ``replace`` is false.
    """

    def __init__(self, path: Path, classes: Sequence[str], replace: bool = False) -> None:
        self.path = path
        self.classes = classes
        self.entries: dict[str, Entry] = {}
        try:
            if path.exists():
                self.entries = self.read()
        except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
            if not replace:
                raise UserError(
                    f"{path}: was not written by predict with these classes, or was changed since; move it elsewhere, "
                    "or set overwrite=true"
                ) from error

    def remove(self, names: Iterable[str]) -> None:
        """Remove the entries of images that will be labelled again.

        Raises:
            WriteError: if the file cannot be written.
        """
        for name in names:
            self.entries.pop(name, None)
        if self.path.exists():
            save(self.path, lambda file: self.write(file, iter(self.entries.items())))

    def complete(self, masks: Mapping[str, Path]) -> list[str]:
        """Add missing entries, and return a line for each mask that cannot be read.

        Args:
            masks: the mask of each image, by image name.

        Raises:
            WriteError: if the file cannot be written.
        """
        faults: list[str] = []

        def all_entries() -> Iterator[tuple[str, Entry]]:
            for name in tracked(sorted({*self.entries, *masks}), f"writing {self.path.name}"):
                try:
                    yield name, self.entries[name] if name in self.entries else self.describe(self.label(masks[name]))
                except UserError as error:
                    faults.append(str(error))

        if not masks.keys() <= self.entries.keys():
            save(self.path, lambda file: self.write(file, all_entries()))
        return faults

    def label(self, mask: Path) -> LabelMap:
        """Return the label map of a mask.

        Raises:
            UserError: if the file cannot be read, or is not a label map.
        """
        values = read_mask(mask).values
        if values.ndim != 2 or values.max() >= len(self.classes):
            raise UserError(f"{mask}: has labels that are not classes; remove it, and run the same command again")
        return values.astype(np.uint8)

    @abstractmethod
    def read(self) -> dict[str, Entry]:
        """Return the file's entries by image name; raise a built-in exception if the file has another format."""

    @abstractmethod
    def describe(self, label: LabelMap) -> Entry:
        """Return the entry of an image."""

    @abstractmethod
    def write(self, file: IO[bytes], entries: Iterator[tuple[str, Entry]]) -> None:
        """Write all entries; they are computed lazily, because there may be many."""


class SharesTable(Summary[list[str]]):
    """A CSV file with a line for each image: its name, and the fraction of its pixels in each class (0..1)."""

    def read(self) -> dict[str, list[str]]:
        with self.path.open(newline="", **TEXT) as file:
            titles, *lines = csv.reader(file)
        if titles != ["image", *self.classes] or any(len(line) != len(titles) for line in lines):
            raise ValueError
        return {name: shares for name, *shares in lines}

    def describe(self, label: LabelMap) -> list[str]:
        return [f"{share:.6g}" for share in np.bincount(label.ravel(), minlength=len(self.classes)) / label.size]

    def write(self, file: IO[bytes], entries: Iterator[tuple[str, list[str]]]) -> None:
        with io.TextIOWrapper(file, newline="", **TEXT) as text:
            writer = csv.writer(text)
            writer.writerow(["image", *self.classes])
            writer.writerows([name, *shares] for name, shares in entries)


class CocoFile(Summary[dict[str, Any]]):
    """A COCO JSON file. An entry has an image's width, height and annotations."""

    def read(self) -> dict[str, dict[str, Any]]:
        content = json.loads(self.path.read_text(encoding="utf-8"))
        if content["categories"] != coco_categories(self.classes):
            raise ValueError
        entries = {image["id"]: {**image, "annotations": []} for image in content["images"]}
        for annotation in content["annotations"]:
            entries[annotation["image_id"]]["annotations"].append(annotation)
        return {entry["file_name"]: entry for entry in entries.values()}

    def describe(self, label: LabelMap) -> dict[str, Any]:
        height, width = label.shape
        return {"width": width, "height": height, "annotations": coco_annotations(label, self.classes)}

    def write(self, file: IO[bytes], entries: Iterator[tuple[str, dict[str, Any]]]) -> None:
        """Write the annotations as they are computed, then the list of images."""
        beginning = {
            "info": {"description": "predictions"},
            "licenses": [],
            "categories": coco_categories(self.classes),
        }
        file.write(json.dumps(beginning)[:-1].encode() + b', "annotations": [')
        images: list[dict[str, Any]] = []
        number = 0
        for name, entry in entries:
            images.append(
                {"id": len(images) + 1, "file_name": name, "width": entry["width"], "height": entry["height"]}
            )
            for annotation in entry["annotations"]:
                number += 1
                line = json.dumps({**annotation, "id": number, "image_id": len(images)})
                file.write((",\n" if number > 1 else "\n").encode() + line.encode())
        file.write(b'\n], "images": ' + json.dumps(images).encode() + b"}\n")


SUMMARIES: dict[str, tuple[str, type[Summary[Any]]]] = {
    "shares": ("shares.csv", SharesTable),
    "coco": ("coco.json", CocoFile),
}
