"""Find image and mask files in folders, for data sets and for prediction."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from src.system.errors import printable
from src.system.files import expand_path

IMAGE_ENDINGS = (
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jp2", ".avif",
)  # fmt: skip
MASK_ENDINGS = (".png", ".bmp", ".tif", ".tiff", ".gif")  # lossless formats
JUNK = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r")  # of Windows, macOS and Synology


def is_junk(name: str) -> bool:
    """Tell whether a file is hidden or made by a file manager: ._photo.jpg, .DS_Store, Thumbs.db, __MACOSX."""
    return name.startswith(".") or name.lower() in JUNK


def files_below(folder: Path, without: Collection[Path] = ()) -> Iterator[Path]:
    """Yield all files below a folder except junk.

    Links to folders are followed, but no folder is visited twice. A folder named like an image is yielded like a file,
    so that reading it reports the mistake.

    Args:
        folder: the folder.
        without: folders to skip.
    """
    visited = {os.path.realpath(path) for path in without}
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        mistakes = [name for name in folders if is_image(name) and not is_junk(name)]
        folders[:] = sorted(name for name in folders if not is_junk(name) and name not in mistakes)
        yield from (Path(parent, name) for name in (*files, *mistakes) if not is_junk(name))


def is_image(name: str) -> bool:
    """Tell whether a file name has the ending of an image."""
    return Path(name).suffix.lower() in IMAGE_ENDINGS


def files_by_name(folder: Path, endings: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Return the files below a folder with one of the endings, by name, and a line for each other file.

    A name is the relative path without ending, such as "a/street1", in Unicode's composed form (NFC). macOS may store
    the decomposed form, so the names of an image and its mask may differ in bytes. Unprintable characters are escaped.
    """
    files: dict[str, Path] = {}
    strays = []
    for path in sorted(files_below(folder)):
        name = printable(normalised(path.relative_to(folder).with_suffix("").as_posix()))
        if path.suffix.lower() not in endings:
            strays.append(f"{path}: not used here; endings may be {', '.join(endings)}")
        elif name in files:
            strays.append(f"{path}: has the same name as {files[name].name}; rename one")
        else:
            files[name] = path
    return files, strays


class PairedFiles(NamedTuple):
    """The result of ``pair_files``."""

    pairs: list[tuple[str, Path, Path]]  # name, image, mask; a missing mask has its expected path
    strays: list[str]  # a line for each file that is neither an image nor a mask
    orphans: list[str]  # a line for each mask without an image


def pair_files(images: Path, masks: Path) -> PairedFiles:
    """Pair the images in a folder with the masks of the same name in another folder."""
    image_files, strays = files_by_name(images, IMAGE_ENDINGS)
    mask_files, mask_strays = files_by_name(masks, MASK_ENDINGS)
    pairs = [(name, path, mask_files.get(name, masks / f"{name}.png")) for name, path in sorted(image_files.items())]
    orphans = [
        f"{path}: no image of this name in {images}" for name, path in mask_files.items() if name not in image_files
    ]
    return PairedFiles(pairs, [*strays, *mask_strays], orphans)


def name_in_other_case(path: Path) -> str:
    """Return the name of an existing file or folder that differs from a missing path only in case; "" if none does.

    A file's ending may differ, too: masks/A.png may be stored as a.PNG or a.tif.
    """
    missing = path
    while not missing.parent.is_dir() and missing != missing.parent:
        missing = missing.parent
    parent = missing.parent

    def comparable(name: str) -> str:
        return normalised(Path(name).stem if missing == path else name).casefold()

    try:
        names = sorted(name for name in os.listdir(parent) if not is_junk(name))
    except OSError:
        return ""
    return next((name for name in names if comparable(name) == comparable(missing.name)), "")


def describe_files(folder: Path, endings: Sequence[str]) -> str:
    """Return what a folder contains instead of files with the right endings, and the remedy."""
    found = Counter(path.suffix.lower() or "no ending" for path in files_below(folder))
    if not found:
        return f"it holds no file; put files there that end in {', '.join(endings)}"
    counts = ", ".join(f"{ending} ({count})" for ending, count in found.most_common(5))
    return f"it holds {counts}; endings may be {', '.join(endings)}: convert other files to PNG"


def describe_lack(root: str, folders: Sequence[str], release: str = "", may_rename: bool = False) -> str:
    """Return why the root of a data set lacks folders: it does not exist, or what it holds instead; and the remedy.

    Args:
        root: the root as the user wrote it.
        folders: the folders that the data set reads.
        release: the name that the root has in the release of the data set, if it has one.
        may_rename: whether the data set is the user's own, so that another folder there may be the one that is missing.
    """
    base = expand_path(root)
    remedy = f"set root=FOLDER{f', the folder {release}' if release else ''}"
    if not base.exists():
        return f"root={root}: no such folder (a relative path starts where you run the command); {remedy}"
    if not base.is_dir():
        return f"root={root}: is a file, not a folder; {remedy}"
    missing = [f"{folder}/" for folder in folders if not (base / folder).is_dir()]
    noun = "folder" if len(missing) == 1 else "folders"
    if may_rename and len(missing) < len(folders):  # the root is right, most likely
        remedy = f"rename the folder that is meant to {missing[0]}, or {remedy}"
    return f"root={root}: no {noun} {' and '.join(missing)} there; it holds {describe_folders(base)}; {remedy}"


def describe_folders(folder: Path) -> str:
    """Return the first names of the folders in a folder, as in "imgs/, labels/"; "no folder" if there are none."""
    try:
        names = [f"{name}/" for name in sorted(os.listdir(folder)) if not is_junk(name) and (folder / name).is_dir()]
    except OSError as error:
        return f"what cannot be read ({error.strerror})"
    return f"{', '.join(names[:8]) or 'no folder'}{' ...' if len(names) > 8 else ''}"


def normalised(name: str) -> str:
    """Return a name in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", name)
