"""Convert labels from another tool into a folder of images and masks, with lists of the splits."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from src.data.colours import voc_palette
from src.data.convert.painting import paint
from src.data.convert.recognise import recognise
from src.data.convert.records import Labels, Record
from src.data.convert.source import Source
from src.data.dataset import DatasetError, check_classes
from src.data.find_files import IMAGE_ENDINGS, normalised
from src.data.parallel import over_cores
from src.drawing.pictures import indexed_image
from src.system.counted import counted
from src.system.errors import printable
from src.system.files import write_text

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")


class FaultyLabels(DatasetError):
    """Raised if labels cannot be converted.

    Attributes:
        faults: one line for each fault.
    """

    def __init__(self, message: str, faults: Sequence[str]) -> None:
        super().__init__(message)
        self.faults = faults


@dataclass
class Conversion:
    """The result of a conversion.

    Attributes:
        title: name of the format.
        evidence: the file by which the format was recognised.
        classes: class names by index.
        palette: the tool's colour for each class; None if it has none.
        splits: names of the samples by split.
        notes: lines of information for the user.
        faults: one line for everything that could not be converted.
    """

    title: str
    evidence: str
    classes: Sequence[str]
    palette: Sequence[Sequence[int]] | None
    splits: dict[str, list[str]]
    notes: list[str]
    faults: list[str]


def convert(
    source: Source,
    folder: Path,
    format_: str | None = None,
    unlabelled: str | None = None,
    val_share: float = 0.2,
    on_error: str = "raise",
    workers: int = 0,
) -> Conversion:
    """Write a data set for ``Folder``: images/, masks/ with class indices, train.txt and val.txt.

    Args:
        source: the labels and images, which are not changed.
        folder: an empty folder.
        format_: a key of ``FORMATS``; None to recognise the format.
        unlabelled: "background" or "void" for pixels without a label; None for the format's default.
        val_share: fraction of the images for validation, if the labels have no splits.
        on_error: "raise", or "skip" to skip images with a fault.
        workers: number of processes to use.

    Raises:
        DatasetError: if an argument is wrong, or the format is not recognised.
        FaultyLabels: if there is a fault and ``on_error`` is "raise", or fewer than two images are good.
    """
    if on_error not in ("raise", "skip"):
        raise DatasetError(f"on_error={on_error}: must be raise or skip")
    if not 0 < val_share < 1:
        raise DatasetError(f"val_share={val_share}: must lie between 0 and 1")
    format_found, evidence = recognise(source, format_)
    log.info("%s: %s", format_found.title, evidence)
    labels = format_found.read(source, unlabelled)
    faults = [printable(line) for line in labels.faults]
    if not labels.records:
        raise FaultyLabels(f"{evidence}: none of the images that it names exists", faults)
    labels.classes = check_classes(labels.classes)
    names = sample_names([record.image for record in labels.records], source)
    check_space(labels.records, folder)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    good: list[tuple[str, str]] = []  # name and split
    rendering = Rendering(labels, names, folder, source)
    outcomes = over_cores(rendering, len(names), "converting", workers)
    for name, record, outcome in zip(names, labels.records, outcomes, strict=True):
        if outcome:
            faults += outcome
        else:
            good.append((name, record.split))
    if faults and on_error == "raise":
        remedy = f"; on_error=skip continues with {len(good):,} of {len(names):,} images" if len(good) > 1 else ""
        raise FaultyLabels(f"{counted(len(faults), 'fault')}, listed above; nothing was written{remedy}", faults)
    if len(good) < 2:
        raise FaultyLabels(
            f"{counted(len(good), 'good image')} cannot be divided into train and val; add images", faults
        )
    splits, note = assign_splits(good, val_share)
    for split, listed in splits.items():
        write_text(folder / f"{split}.txt", "".join(f"{name}\n" for name in listed))
    empty = sum(not record.shapes and record.mask is None for record in labels.records)
    notes = [
        *labels.notes,
        *([f"{counted(empty, 'image has no labels, and is', 'images have no labels, and are')} kept"] if empty else []),
        *note,
    ]
    return Conversion(format_found.title, evidence, labels.classes, labels.palette, splits, notes, faults)


class Rendering:
    """A function that writes the image and mask of the record at an index, and returns its faults."""

    def __init__(self, labels: Labels, names: Sequence[str], folder: Path, source: Source) -> None:
        self.labels, self.names, self.folder, self.source = labels, names, folder, source
        self.palette: UInt8[np.ndarray, "classes 3"] = (
            voc_palette(len(labels.classes)) if labels.palette is None else np.array(labels.palette, np.uint8)
        )

    def __call__(self, index: int) -> list[str]:
        record, name = self.labels.records[index], self.names[index]
        faults = [printable(fault) for fault in record.faults]
        try:
            label = paint(record, self.labels.unlabelled, self.labels.masks)
        except DatasetError as error:
            place = self.source.relative(record.image)
            reason = str(error).removeprefix(f"{record.image}: ").replace(f"{self.source.root}/", "")
            return [*faults, printable(f"{place}: {reason}")]
        if not faults:
            image = self.folder / "images" / f"{name}{record.image.suffix.lower()}"
            mask = self.folder / "masks" / f"{name}.png"
            for path in (image, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(record.image, image)
            indexed_image(label, self.palette).save(mask)
        return faults


def sample_names(images: Sequence[Path], source: Source) -> list[str]:
    """Return a unique name for each image, valid in file systems and lists: its path below the common folder.

    Characters other than word characters, space, dot, comma, hyphen, plus and parentheses are replaced with "_".
    """
    base = Path(os.path.commonpath([image.parent for image in images]))
    names: list[str] = []
    used = set[str]()
    for image in images:
        relative = normalised(image.relative_to(base).with_suffix("").as_posix())
        parts = [re.sub(r"[^\w .,()+-]", "_", part).strip().lstrip(".") or "_" for part in relative.split("/")]
        name = candidate = "/".join(parts)
        number = 1
        while candidate.casefold() in used:
            number += 1
            candidate = f"{name}_{number}"
        used.add(candidate.casefold())
        names.append(candidate)
    return names


def check_space(records: Sequence[Record], folder: Path) -> None:
    """Raise ``DatasetError`` if the images do not fit on the disk, or one has an unsupported ending."""
    needed = sum(record.image.stat().st_size for record in records if record.image.is_file())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(f"{folder.parent}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    if unsupported := next((r.image for r in records if r.image.suffix.lower() not in IMAGE_ENDINGS), None):
        raise DatasetError(f"{unsupported}: is not supported; image endings may be {', '.join(IMAGE_ENDINGS)}")


def assign_splits(samples: Sequence[tuple[str, str]], val_share: float) -> tuple[dict[str, list[str]], list[str]]:
    """Return the names in each split, and lines about how they were divided.

    If there are no validation samples, a fraction of the training samples is used: those whose names have the smallest
    hashes. This choice changes little when images are added.

    Args:
        samples: two or more of (name, split); the split is "" if the labels have none.
        val_share: fraction of the samples for validation.
    """
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, split in samples:
        splits[split or "train"].append(name)
    counts = Counter(split for _, split in samples)
    unlisted = counted(counts[""], "image belongs to no split, and is", "images belong to no split, and are")
    notes = [f"{unlisted} used for training"] if counts[""] and counts["val"] else []
    for other in ("val", "test"):  # used for training if there is nothing else
        if len(splits["train"]) + len(splits["val"]) < 2 or not splits["train"]:
            splits["train"], splits[other] = splits["train"] + splits[other], []
    if not splits["val"]:
        count = min(max(1, round(len(splits["train"]) * val_share)), len(splits["train"]) - 1)
        by_hash = sorted(splits["train"], key=lambda name: hashlib.blake2b(name.encode()).digest())
        splits["val"] = by_hash[:count]
        splits["train"] = by_hash[count:]
        notes.append(f"no validation images: {count:,} of {len(by_hash):,} were chosen, the same ones each time")
    return {split: sorted(names) for split, names in splits.items() if names}, notes
