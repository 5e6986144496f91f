"""Lists of a split: the forms of a line, encodings, and errors that name the line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data import ADE20K, VOC12, DatasetError, Folder
from src.data.checks import describe_shared_files

CLASSES = ["ground", "thing"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data set of the images "a", "b.v2" and "two words" with their masks, and a further mask p_mask.png."""
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    for name in ("a", "b.v2", "two words"):
        Image.new("RGB", (4, 2)).save(tmp_path / "images" / f"{name}.jpg")
        Image.new("L", (4, 2)).save(tmp_path / "masks" / f"{name}.png")
    Image.new("L", (4, 2), 1).save(tmp_path / "masks" / "p_mask.png")
    return tmp_path


def names(folder: Path, content: str | bytes, **options: str) -> list[str]:
    (folder / "train.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return [name for name, *_ in Folder(str(folder), "train", CLASSES, **options).pairs]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines(folder: Path, encoding: str, end: str) -> None:
    assert names(folder, end.join(["a", "two words", ""]).encode(encoding)) == ["a", "two words"]


@pytest.mark.parametrize(
    "line",
    [
        "two words", "two words.jpg", "two words.png", "  two words\t", "images/two words.jpg",
        "./images/two words.jpg", "/images/two words.jpg", "images\\two words.jpg", "/elsewhere/images/two words.jpg",
        "C:\\data\\two words.jpg", "# chosen by hand\n\n  \ntwo words",
    ],
)  # fmt: skip
def test_ways_to_name_an_image(folder: Path, line: str) -> None:
    assert names(folder, f"b.v2\n{line}\n") == ["b.v2", "two words"]


def test_a_name_may_begin_with_a_hash(folder: Path) -> None:
    (folder / "images/a.jpg").rename(folder / "images/#1.jpg")
    (folder / "masks/a.png").rename(folder / "masks/#1.png")
    assert names(folder, "#1\n#2\n") == ["#1"]


@pytest.mark.parametrize(
    "line",
    ["a masks/p_mask.png", "images/a.jpg masks/p_mask.png", "/images/a.jpg\t/masks/p_mask.png", "a.jpg,p_mask.png",
     "images\\a.jpg; masks\\p_mask.png", "a p_mask"],
)  # fmt: skip
def test_pairs(folder: Path, line: str) -> None:
    (folder / "train.txt").write_text(f"{line}\ntwo words masks/two words.png\n")
    data = Folder(str(folder), "train", CLASSES)
    assert [(sample.id, np.unique(sample.label).tolist()) for sample in data] == [("a", [1]), ("two words", [0])]
    assert data.strays == []  # the mask of another name is used


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a\nc\n", r"train\.txt, line 2: c is not in .*images; on_error=skip skips such images"),
        ("a\nb\n", r"train\.txt, line 2: b is not in"),  # the image is b.v2
        ("a\n\n#\na.jpg\n", r"train\.txt, line 4: a is already on line 1"),
        (
            "a\nb.v2 masks/none.png\n",
            r"train\.txt, line 2: masks/none\.png is not a mask; write NAME, or IMAGE",
        ),
        ("two words -1\n", r"train\.txt, line 1: -1 is not a mask"),
        ("a\ncaf\xe9\n".encode("latin-1"), r"train\.txt, line 2: not in UTF-8; save the list as UTF-8"),
        ("a\nb\n".encode("utf-16-le"), r"train\.txt, line 1: contains a NUL byte"),
        ("\n# nothing yet\n", r"train\.txt: lists no images; write the name of one"),
    ],
)
def test_an_invalid_line_is_named(folder: Path, content: str | bytes, line: str) -> None:
    with pytest.raises(DatasetError, match=line) as caught:
        names(folder, content)
    assert "\n" not in str(caught.value)


def test_missing_images_are_skipped_with_on_error_skip(folder: Path) -> None:
    assert names(folder, "a\nc\ntwo words\n", on_error="skip") == ["a", "two words"]


def test_names_in_both_forms_of_unicode(folder: Path) -> None:
    """The name of the image is decomposed, as on macOS; those of the mask and in the list are composed."""
    (folder / "images/a.jpg").rename(folder / "images/cafe\u0301.jpg")
    (folder / "masks/a.png").rename(folder / "masks/caf\u00e9.png")
    for name in ("cafe\u0301", "caf\u00e9"):
        assert names(folder, f"{name}\n") == ["caf\u00e9"]
        assert names(folder, f"images/{name}.jpg masks/{name}.png") == ["caf\u00e9"]
    assert Folder(str(folder), "train", CLASSES)[0].id == "caf\u00e9"


def test_names_in_folders(folder: Path) -> None:
    for sub, ending in (("images", "jpg"), ("masks", "png")):
        (folder / sub / "day" / "1").mkdir(parents=True)
        (folder / sub / f"a.{ending}").rename(folder / sub / "day" / "1" / f"a.{ending}")
    for line in ("day/1/a", "images/day/1/a.jpg", "/images/day/1/a.jpg masks/day/1/a.png"):
        assert names(folder, line) == ["day/1/a"]
    with pytest.raises(DatasetError, match="night/1/a is not in"):
        names(folder, "night/1/a")


def test_voc_lists_as_deeplab_has_them(tmp_path: Path) -> None:
    """Pairs that begin with a slash; the masks are those in the list, not those in the data set's folder of masks."""
    for sub in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (tmp_path / sub).mkdir(parents=True)
    for name in "ab":
        Image.new("RGB", (4, 2)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        Image.new("L", (4, 2), 3).save(tmp_path / "SegmentationClass" / f"{name}.png")
        Image.new("L", (4, 2), 5).save(tmp_path / "SegmentationClassAug" / f"{name}.png")
    lists = tmp_path / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("/JPEGImages/a.jpg /SegmentationClassAug/a.png\r\n")
    (lists / "val.txt").write_text("\ufeffb\n", encoding="utf-8")
    train, val = (VOC12(str(tmp_path), split) for split in ("train", "val"))
    assert [(sample.id, sample.label[0, 0]) for split in (train, val) for sample in split] == [("a", 5), ("b", 3)]
    (lists / "train.txt").write_text("b -1\n")
    with pytest.raises(DatasetError, match=r"train\.txt, line 1: -1 is not a mask"):
        VOC12(str(tmp_path), "train")


def test_images_in_two_lists_give_a_warning(folder: Path) -> None:
    (folder / "train.txt").write_text("a\ntwo words\n")
    (folder / "val.txt").write_text("b.v2\na.jpg\n")
    splits = {split: Folder(str(folder), split, CLASSES) for split in ("train", "val")}
    (line,) = describe_shared_files(splits)
    assert line.startswith(f"1 image is in train and in val, such as {folder / 'images' / 'a.jpg'}")


def test_ade20k_object_names_in_other_encodings(tmp_path: Path) -> None:
    for sub in ("images/training", "annotations/training"):
        (tmp_path / sub).mkdir(parents=True)
        Image.new("L", (4, 2), 1).save(tmp_path / sub / "a.png")
    with pytest.raises(DatasetError, match=r"objectInfo150\.txt: missing; it is part of the release"):
        ADE20K(str(tmp_path), "train")
    table = "header\r\n" + "".join(f"{i}\t0\tthing {i}, sort\r\n" for i in range(150))
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "objectInfo150.txt").write_bytes(table.encode(encoding))
        assert ADE20K(str(tmp_path), "train").classes == tuple(f"thing {i}" for i in range(150))
