"""Find the images to predict by file, folder or pattern, and name their results."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.data.decode import IMAGE_ENDINGS
from src.errors import UserError


def find_images(given: str, without: Sequence[Path] = ()) -> tuple[Path, list[Path]]:
    """A file, all images below a folder, or what matches a pattern such as "photos/**/*.jpg".

    Args:
        without: folders that are not looked into.

    Returns:
        The folder that names of results are relative to, and the files by name.

    Raises:
        UserError: if there is nothing, or no image among it.
    """
    path = Path(given)
    if path.is_dir():
        base, found = path, sorted(images_below(path, {os.path.realpath(folder) for folder in without}))
    elif glob.has_magic(given) and not path.exists():
        # The shortest way to each file: "**" walks a loop of links many times over.
        matches = sorted(map(Path, glob.glob(given, recursive=True)), key=lambda match: len(match.parts), reverse=True)
        files = {(os.path.realpath(match.parent), match.name): match for match in matches}.values()
        found = sorted(match for match in files if match.suffix.lower() in IMAGE_ENDINGS or not match.is_dir())
        parts = path.parts
        base = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
    elif os.path.lexists(given):
        base, found = path.parent, [path]
    else:
        raise UserError(f"input={given}: no such file or folder; quote a pattern: 'input=photos/*.jpg'")
    if not found:
        raise UserError(f"input={given}: no image there; endings looked for: {', '.join(IMAGE_ENDINGS)}")
    return base, found


def images_below(folder: Path, without: set[str]) -> Iterator[Path]:
    """By ending, links to folders followed; a folder is entered once, whatever links lead to it."""
    entered = set(without)
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        # A folder with an image's ending is somebody's mistake: it is named, not entered.
        named = [name for name in folders if Path(name).suffix.lower() in IMAGE_ENDINGS]
        folders[:] = sorted(set(folders) - set(named))
        yield from (Path(place, name) for name in [*files, *named] if Path(name).suffix.lower() in IMAGE_ENDINGS)


def result_names(files: list[Path], base: Path) -> list[str]:
    """A name for each file's results: its path below ``base`` without the ending, or with it where two would meet."""
    whole = [str(path.relative_to(base)) for path in files]
    short = [str(Path(name).with_suffix("")) for name in whole]
    shared = Counter(short)
    names = [name if shared[stem] > 1 else stem for name, stem in zip(whole, short, strict=True)]
    return names if len(set(names)) == len(names) else whole
