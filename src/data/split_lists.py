"""Read the lists that say which images a split has: names, files, or pairs of an image and a mask."""

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
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark begins it
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
Pair = tuple[str, Path, Path]


class SplitList:
    """A text file with a line for each image of a split.

    A line is a name ("street1"), a file ("street1.jpg", "images/street1.jpg"), or an image and its mask, separated by
    space, tab, comma or semicolon ("/JPEGImages/street1.jpg /SegmentationClassAug/street1.png"). Paths are relative to
    the data set's root. Blank lines and lines that begin with # are skipped.

    Args:
        path: of the list.
        root: of the data set.
        images: its folder of images.
        masks: its folder of masks.
        pairs: (name, image, mask) of all images that may be listed.
    """

    def __init__(self, path: Path, root: Path, images: Path, masks: Path, pairs: Sequence[Pair]) -> None:
        self.path, self.root, self.images, self.masks = path, root, images, masks
        self.pairs = {name: (image, mask) for name, image, mask in pairs}
        self.has_folders = any("/" in name for name in self.pairs)

    def read(self) -> tuple[list[Pair], list[str]]:
        """Return the pairs of the list in its order, and a line for each image that the data set does not have.

        Raises:
            DatasetError: naming the list, and the line that cannot be understood.
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
            raise DatasetError(f"{self.path}: names no image")
        return pairs, unknown

    def parse(self, text: str, where: str) -> Pair | None:
        """Return the pair that a line means; None where it names no image.

        Raises:
            DatasetError: if something other than a mask stands behind the image.
        """
        if (name := normalised(text)) in self.pairs:
            return (name, *self.pairs[name])
        wrong = ""
        for gap in re.finditer(r"[\s,;]+", text):
            name, rest = self.find_name(text[: gap.start()]), text[gap.end() :]
            if name and (mask := self.find_mask(rest)):
                return name, self.pairs[name][0], mask
            wrong = rest if name else wrong
        if wrong:
            raise DatasetError(f"{where}: {wrong} is not a mask; a line is NAME, or IMAGE MASK relative to {self.root}")
        name = self.find_name(text)  # after the pairs: it drops folders, and so all but the last word
        return (name, *self.pairs[name]) if name else None

    def find_name(self, text: str) -> str:
        """Return the name of the image that a text means; "" for none."""
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
        """Return a hint that names the image which a text means, if only the case differs; "" for none."""
        wanted = (normalised(text).casefold(), Path(normalised(text)).stem.casefold())
        name = next((name for name in self.pairs if name.casefold() in wanted), "")
        return f"; there is {name}, and the names must agree in upper and lower case" if name else ""

    def find_mask(self, text: str) -> Path | None:
        """Return the mask file that a text means; None for none."""
        for form in (text, normalize("NFC", text), normalize("NFD", text)):
            relative = form.replace("\\", "/").lstrip("/")
            for path in (Path(form), self.root / relative, self.masks / relative, self.masks / f"{relative}.png"):
                if path.is_file() and (path.is_absolute() or path != Path(form)):
                    return path
        return None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of the lines of a text file that are not blank, without spaces around them.

    Files are in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        DatasetError: if the file cannot be read, or a line is in another encoding.
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
    """Return the pairs of a split that no list names: "val" is a share drawn at random, "train" is the rest.

    Args:
        root: the argument that names the data set, for messages: "root=FOLDER".
        split: "train" or "val".
        pairs: of all images, sorted by name.
        val_share: part of the images that "val" gets, at least one image.
        seed: of the draw.

    Raises:
        DatasetError: if there is no such split, or too few images for two.
    """
    if split not in ("train", "val"):
        raise DatasetError(f"{root}: has no list {split}.txt; without a list there are the splits train and val only")
    if not 0 < val_share < 1:
        raise DatasetError(f"val_share={val_share}: must lie between 0 and 1")
    if len(pairs) == 1:
        raise DatasetError(
            f"{root}: one image cannot be divided into train and val; add images, or name it in train.txt and val.txt"
        )
    shuffled = list(pairs)
    random.Random(seed).shuffle(shuffled)
    held_back = min(max(1, round(len(pairs) * val_share)), len(pairs) - 1)
    return sorted(shuffled[:held_back] if split == "val" else shuffled[held_back:])
