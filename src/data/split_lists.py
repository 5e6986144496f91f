"""Read lists of the images in a split: names, files, or pairs of an image and a mask."""

from __future__ import annotations

import codecs
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import normalize

from src.data.dataset import DatasetError
from src.data.find_files import IMAGE_ENDINGS, MASK_ENDINGS, normalised

ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is a prefix of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
Pair = tuple[str, Path, Path]


class SplitList:
    """A text file with a line for each image of a split.

    A line is a name ("street1"), a file ("street1.jpg", "images/street1.jpg"), or an image and its mask, separated by
    space, tab, comma or semicolon ("/JPEGImages/street1.jpg /SegmentationClassAug/street1.png"). Paths are relative to
    the data set's root. Blank lines and lines that start with # are skipped.

    Args:
        path: path of the list.
        root: root of the data set.
        images: folder of the images.
        masks: folder of the masks.
        pairs: (name, image, mask) of all images that may be listed.
    """

    def __init__(self, path: Path, root: Path, images: Path, masks: Path, pairs: Sequence[Pair]) -> None:
        self.path, self.root, self.images, self.masks = path, root, images, masks
        self.pairs = {name: (image, mask) for name, image, mask in pairs}
        self.has_folders = any("/" in name for name in self.pairs)

    def read(self) -> tuple[list[Pair], list[str]]:
        """Return the pairs in list order, and a line for each listed image that does not exist.

        Raises:
            DatasetError: with the list and the invalid line.
        """
        pairs: list[Pair] = []
        unknown: list[str] = []
        lines: dict[str, int] = {}
        for number, text in numbered_lines(self.path):
            where = f"{self.path}, line {number}"
            pair = self.parse(text, where)
            if pair is None:
                if not text.startswith("#"):
                    unknown.append(f"{where}: {text} is not in {self.images}{self.hint_at_case(text)}")
            elif pair[0] in lines:
                raise DatasetError(f"{where}: {pair[0]} is already on line {lines[pair[0]]}; list an image once")
            else:
                lines[pair[0]] = number
                pairs.append(pair)
        if not pairs and not unknown:
            raise DatasetError(f"{self.path}: lists no images; write the name of one on each line")
        return pairs, unknown

    def parse(self, text: str, where: str) -> Pair | None:
        """Return the pair on a line; None if the line names no known image.

        Raises:
            DatasetError: if the image is followed by something other than a mask.
        """
        if (name := normalised(text)) in self.pairs:
            return (name, *self.pairs[name])
        not_a_mask = ""
        for gap in re.finditer(r"[\s,;]+", text):
            name, rest = self.find_name(text[: gap.start()]), text[gap.end() :]
            if name and (mask := self.find_mask(rest)):
                return name, self.pairs[name][0], mask
            not_a_mask = rest if name else not_a_mask
        if not_a_mask:
            raise DatasetError(
                f"{where}: {not_a_mask} is not a mask; write NAME, or IMAGE MASK relative to {self.root}"
            )
        name = self.find_name(text)  # after the pairs, because it drops folders, and with them all but the last word
        return (name, *self.pairs[name]) if name else None

    def find_name(self, text: str) -> str:
        """Return the name of the image that a string refers to; "" if there is none."""
        text = normalised(text)
        parts = text.replace("\\", "/").lstrip("/").removeprefix("./").split("/")
        tails = [text, "/".join(parts)]
        if self.images.name in parts:
            tails.append("/".join(parts[parts.index(self.images.name) + 1 :]))
        if not self.has_folders:
            tails.append(parts[-1])  # of a path on another machine
        endings = IMAGE_ENDINGS + MASK_ENDINGS
        tails += [tail[: -len(ending)] for tail in tails for ending in endings if tail.lower().endswith(ending)]
        return next((tail for tail in tails if tail in self.pairs), "")

    def hint_at_case(self, text: str) -> str:
        """Return a hint with the image whose name differs only in case; "" if there is none."""
        wanted = (normalised(text).casefold(), Path(normalised(text)).stem.casefold())
        name = next((name for name in self.pairs if name.casefold() in wanted), "")
        return f"; {name} exists, and upper and lower case must match" if name else ""

    def find_mask(self, text: str) -> Path | None:
        """Return the mask file that a string refers to; None if there is none."""
        for form in (text, normalize("NFC", text), normalize("NFD", text)):
            relative = form.replace("\\", "/").lstrip("/")
            for path in (Path(form), self.root / relative, self.masks / relative, self.masks / f"{relative}.png"):
                if path.is_file() and (path.is_absolute() or path != Path(form)):
                    return path
        return None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, text) for the non-blank lines of a text file, stripped of surrounding spaces.

    Files are in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        DatasetError: if the file cannot be read, or has another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    encoding = next((name for mark, name in ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DatasetError(f"{path}, line {line}: not in UTF-8; save the list as UTF-8") from error
    for number, row in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if "\0" in row:
            raise DatasetError(f"{path}, line {number}: contains a NUL byte; save the list as a text file in UTF-8")
        if stripped := row.strip():
            yield number, stripped


def draw_split(root: str, split: str, pairs: Sequence[Pair], val_share: float = 0.2, seed: int = 0) -> list[Pair]:
    """Return the pairs of a random split: "val" is a fraction of all pairs, "train" the rest.

    Args:
        root: start of error messages: "root=FOLDER".
        split: "train" or "val".
        pairs: pairs of all images, sorted by name.
        val_share: fraction of the images for "val"; at least one image is chosen.
        seed: seed of the random choice.

    Raises:
        DatasetError: if the split is neither of these, or there are too few images.
    """
    if split not in ("train", "val"):
        raise DatasetError(f"{root}: has no list {split}.txt; without lists, only the splits train and val exist")
    if not 0 < val_share < 1:
        raise DatasetError(f"val_share={val_share}: must lie between 0 and 1")
    if len(pairs) == 1:
        raise DatasetError(
            f"{root}: one image cannot be divided into train and val; add images, or list it in train.txt and val.txt"
        )
    shuffled = list(pairs)
    random.Random(seed).shuffle(shuffled)
    held_back = min(max(1, round(len(pairs) * val_share)), len(pairs) - 1)
    return sorted(shuffled[:held_back] if split == "val" else shuffled[held_back:])
