"""Find the images to label, by file, folder or pattern, and name their results."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from src.data.find_files import IMAGE_ENDINGS, describe_files, files_below, is_image, is_junk
from src.system.errors import UserError
from src.system.files import expand_path


def find_images(given: str, without: Sequence[Path] = ()) -> tuple[Path, list[Path]]:
    """Return a file, all images below a folder, or all images that match a pattern.

    Args:
        given: path of a file or a folder, or a pattern such as "photos/**/*.jpg".
        without: folders to skip.

    Returns:
        The folder that result names are relative to, and the sorted paths of the images.

    Raises:
        UserError: if the path does not exist, or no image is found.
    """
    path = expand_path(given)
    given = str(path)
    if path.is_dir():
        base, found = path, sorted(file for file in files_below(path, without) if is_image(file.name))
        if not found:
            raise UserError(f"input={given}: no image found; {describe_files(path, IMAGE_ENDINGS)}")
    elif glob.has_magic(given) and not path.exists():
        # Keep the shortest path to each file: if links form a loop, "**" finds a file by many paths.
        matches = sorted(map(Path, glob.glob(given, recursive=True)), key=lambda match: len(match.parts), reverse=True)
        files = {(os.path.realpath(match.parent), match.name): match for match in matches}.values()
        parts = path.parts
        base = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
        wanted = (match for match in files if not any(map(is_junk, match.relative_to(base).parts)))
        found = sorted(match for match in wanted if is_image(match.name) or not match.is_dir())
    elif os.path.lexists(given):
        base, found = path.parent, [path]
    else:
        raise UserError(f"input={given}: no such file or folder")
    if not found:
        raise UserError(f"input={given}: no image found; endings looked for: {', '.join(IMAGE_ENDINGS)}")
    return base, found


def result_names(files: list[Path], base: Path) -> list[str]:
    """Return the result name of each file: its path relative to ``base``, without ending.

    The ending is kept if two files would otherwise have the same name, such as a.jpg and a.png.
    """
    whole = [str(path.relative_to(base)) for path in files]
    short = [str(Path(name).with_suffix("")) for name in whole]
    shared = Counter(short)
    names = [name if shared[stem] > 1 else stem for name, stem in zip(whole, short, strict=True)]
    return names if len(set(names)) == len(names) else whole
