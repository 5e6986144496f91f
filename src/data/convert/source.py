"""The files of an export, and the search for its images."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.data.convert.records import Labels, Record
from src.data.dataset import DatasetError
from src.data.find_files import files_below, is_image, normalised
from src.system.archives import extract

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".xz", ".bz2")
MASK_WORDS = r"mask|label|annot|ground.?truth|segm|(?<![a-z])gts?(?![a-z])|target"
IMAGE_WORDS = r"image|img|photo|picture"
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Source:
    """A folder of labels, and optionally another one of images.

    Args:
        given: the path that the user gave, for messages.
        root: the folder of labels.
        only: the only file to read labels from; None for all files.
        images: a folder to search for images first.
        scratch: a folder for images extracted from label files.
    """

    def __init__(self, given: Path, root: Path, only: Path | None, images: Path | None, scratch: Path) -> None:
        self.given, self.root, self.only, self.images, self.scratch = given, root, only, images, scratch

    @functools.cached_property
    def files(self) -> list[Path]:
        """Return all files below the root, sorted."""
        return sorted(files_below(self.root))

    def label_files(self, *endings: str) -> list[Path]:
        """Return the label files with one of the endings."""
        files = self.files if self.only is None else [self.only]
        return [path for path in files if path.suffix.lower() in endings]

    def relative(self, path: Path) -> str:
        """Return a path for messages: relative to the root if below it, otherwise in full."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def is_in_mask_folder(self, path: Path) -> bool:
        """Tell whether a file is in a folder of masks; the innermost folder with a word for masks or images decides."""
        folders = self.relative(path).lower().split("/")[:-1]
        words = [word for folder in folders for word in re.findall(f"{MASK_WORDS}|{IMAGE_WORDS}", folder)]
        return bool(words) and re.fullmatch(MASK_WORDS, words[-1]) is not None

    def split_of(self, path: Path) -> str:
        """Return the split named in a path (valid/images/x.jpg, instances_train2017.json); "" if there is none."""
        words = re.split(r"[^a-z]+", self.relative(path).lower())
        return next((SPLITS[word] for word in reversed(words) if word in SPLITS), "")

    @functools.cached_property
    def images_by_name(self) -> dict[str, list[Path]]:
        """Return the images by file name, with and without ending, in lower case."""
        found: dict[str, list[Path]] = {}
        for path in [*(files_below(self.images) if self.images else ()), *self.files]:
            if is_image(path.name):
                for name in (path.name, path.stem):
                    found.setdefault(normalised(name).casefold(), []).append(path)
        return found

    def find_image(self, reference: str, folder: Path, without: Iterable[Path] = ()) -> Path:
        """Return the image file that labels refer to.

        The reference may be a name, with or without ending, or a path, even one from another machine. Of the images
        with this name, the one whose folders match best is returned.

        Args:
            reference: the reference in the labels.
            folder: the folder of the label file.
            without: folders to ignore, because they contain masks.

        Raises:
            DatasetError: if no image matches, or several match equally well.
        """
        parts = [part for part in re.split(r"[/\\]+", reference.strip()) if part not in ("", ".", "..")]
        if not parts:
            raise DatasetError("names no image")
        direct = Path(folder, *parts)
        if self.images is None and is_image(direct.name) and direct.is_file():
            return direct
        wanted = [normalised(part).casefold() for part in parts]
        found = [p for p in self.images_by_name.get(wanted[-1], ()) if not any(p.is_relative_to(w) for w in without)]
        if not found:
            remedy = "" if self.images else "; set images_from=FOLDER to the folder of the images"
            raise DatasetError(f"its image {reference} is missing{remedy}")
        return self.best_match(reference, wanted, list(dict.fromkeys(found)), folder)

    def best_match(self, reference: str, wanted: list[str], found: list[Path], folder: Path) -> Path:
        """Return the path that best matches the wanted parts; on a tie, prefer one that is not a mask, or is closer.

        Raises:
            DatasetError: if there is still a tie.
        """

        def rank(path: Path) -> tuple[int, bool, bool, int]:
            parts = [normalised(part).casefold() for part in path.parts]
            matching = 1
            while matching < min(len(wanted), len(parts)) and wanted[-matching - 1] == parts[-matching - 1]:
                matching += 1
            in_images = self.images is not None and path.is_relative_to(self.images)
            shared = os.path.commonpath([path.absolute(), folder.absolute()])
            return matching, in_images, not self.is_in_mask_folder(path), len(shared)

        best = max(map(rank, found))
        equal = [path for path in found if rank(path) == best]
        if len(equal) > 1:
            raise DatasetError(f"its image {reference} may be {self.relative(equal[0])} or {self.relative(equal[1])}")
        return equal[0]


@contextmanager
def open_source(path: Path, scratch: Path, images: Path | None = None) -> Iterator[Source]:
    """Yield the source at a path: a folder, a label file, or an archive, which is unpacked into ``scratch``.

    Args:
        path: the path that the user gave.
        scratch: an empty folder, which the caller removes.
        images: folder or archive of the images, if they are elsewhere.

    Raises:
        DatasetError: if an archive is damaged or unsafe.
    """
    if images is not None and images.is_file():
        extract(images, scratch / "images")
        images = scratch / "images"
    if path.is_dir():
        yield Source(path, path, None, images, scratch)
    elif path.suffix.lower() in ARCHIVES:
        extract(path, scratch / "labels")
        yield Source(path, scratch / "labels", None, images, scratch)
    else:
        yield Source(path, path.parent, path, images, scratch)


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises:
        DatasetError: if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError("is not in UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise DatasetError(f"cannot be read ({error.strerror})") from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. It is cached, so do not modify it.

    Raises:
        DatasetError: if it is not JSON, with the line.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DatasetError(f"cannot be read ({error.strerror})") from error
    return parse_json(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4)
def parse_json(path: Path, *version: int) -> Any:
    """Return the content of a version of a JSON file; see ``read_json``."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DatasetError(f"broken JSON ({error.msg}, line {error.lineno}); export it again") from error
    except RecursionError as error:
        raise DatasetError("broken JSON (nested too deeply); export it again") from error


def merge_records(records: Iterable[Record], labels: Labels) -> None:
    """Add records to ``labels``; records of the same image are merged into one.

    It is a fault if they are in different splits.
    """
    merged: dict[Path, Record] = {}
    for record in records:
        first = merged.setdefault(record.image, record)
        if first is record:
            continue
        first.shapes += record.shapes
        first.faults += record.faults
        if first.split != record.split:
            first.faults.append(
                f"{record.source}: {record.image.name} is in {first.split or 'no split'} and in "
                f"{record.split or 'none'}; an image belongs to one split"
            )
    labels.records += merged.values()
