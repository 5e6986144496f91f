"""Which files of a folder are samples: files of file managers are ignored, and missing files are reported."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from src.data import ADE20K, VOC12, CamVid, Cityscapes, DatasetError, FileDataset, Folder
from src.data.survey import survey
from src.prediction.inputs import find_images

CLASSES = list("abcdefgh")
JUNK = (".it.png", ".DS_Store", "Thumbs.db", "desktop.ini")


def write_pair(image: Path, mask: Path) -> None:
    for path, mode in ((image, "RGB"), (mask, "L")):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (4, 2), 7).save(path)


# By data set: its images and masks in a root, and how it is made.
LAYOUTS: dict[str, tuple[str, str, Callable[[Path], FileDataset]]] = {
    "folder": ("images/{}.jpg", "masks/{}.png", lambda root: Folder(str(root), "train", CLASSES)),
    "camvid": ("train/{}.png", "trainannot/{}.png", lambda root: CamVid(str(root), "train")),
    "voc": ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", lambda root: VOC12(str(root), "train")),
    "ade20k": ("images/training/{}.jpg", "annotations/training/{}.png", lambda root: ADE20K(str(root), "train")),
    "cityscapes": (
        "leftImg8bit/train/ulm/{}_leftImg8bit.png", "gtFine/train/ulm/{}_gtFine_labelIds.png",
        lambda root: Cityscapes(str(root), "train")),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_of_file_managers_are_ignored(name: str, tmp_path: Path) -> None:
    image, mask, make = LAYOUTS[name]
    for stem in "abcdef":
        write_pair(tmp_path / image.format(stem), tmp_path / mask.format(stem))
    (tmp_path / "objectInfo150.txt").write_text("header\n" + "".join(f"{i}\tthing {i}\n" for i in range(150)))
    clean = [id_ for id_, *_ in make(tmp_path).pairs]
    assert set(clean) <= set("abcdef")
    for place in (image, mask):
        folder = (tmp_path / place).parent
        for junk in JUNK:
            (folder / junk).write_bytes(b"\0\5\26\7")
        for stem in "ab":
            (folder / f"._{Path(place.format(stem)).name}").write_bytes(b"\0\5\26\7Mac OS X")
        (folder / "__MACOSX").mkdir()
        shutil.copy(folder / Path(place.format("a")).name, folder / "__MACOSX")
        (folder / ".ipynb_checkpoints").mkdir()
        shutil.copy(folder / Path(place.format("a")).name, folder / ".ipynb_checkpoints")
    data = make(tmp_path)
    assert [id_ for id_, *_ in data.pairs] == clean
    assert survey(data, 0).lines() == []
    data.check()
    folder = (tmp_path / image).parent
    expected = sorted(Path(image.format(stem)).name for stem in "abcdef")
    assert [path.name for path in find_images(str(folder))[1]] == expected
    assert [path.name for path in find_images(f"{folder}/**/*")[1]] == expected


def test_folders_in_folders(tmp_path: Path) -> None:
    for name in ("day/1", "day/2", "night/1", "top"):
        write_pair(tmp_path / "images" / f"{name}.JPG", tmp_path / "masks" / f"{name}.PNG")
    (tmp_path / "images" / "day" / "again").symlink_to(tmp_path / "images")  # a loop of folders
    splits = [Folder(str(tmp_path), split, CLASSES) for split in ("train", "val")]
    assert sorted(sample.id for split in splits for sample in split) == ["day/1", "day/2", "night/1", "top"]
    assert not any(split.strays for split in splits)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_no_val_share_leaves_a_split_empty(share: float, tmp_path: Path) -> None:
    for name in "ab":
        write_pair(tmp_path / "images" / f"{name}.png", tmp_path / "masks" / f"{name}.png")
    assert [len(Folder(str(tmp_path), split, CLASSES, val_share=share)) for split in ("train", "val")] == [1, 1]


def heic(root: Path) -> None:
    for name in ("a.heic", "b.HEIC", "c.mov"):
        (root / "images" / name).write_bytes(b"ftyp")


def jpeg_masks(root: Path) -> None:
    write_pair(root / "images" / "a.png", root / "masks" / "a.jpg")
    write_pair(root / "images" / "b.png", root / "masks" / "b.jpg")


def other_names(root: Path) -> None:
    for name in "ab":
        write_pair(root / "images" / f"{name}.jpg", root / "masks" / f"{name}_mask.png")


# What is in a folder's images/ and masks/, and the line that says so.
LACKING: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing": (lambda root: None, r"no image in images/; it holds no file"),
    "photos of a phone": (heic, r"no image in images/; it holds \.heic \(2\), \.mov \(1\); endings may .*: convert"),
    "one image": (
        lambda root: write_pair(root / "images" / "a.png", root / "masks" / "a.png"),
        r"one image cannot be divided into train and val; add images, or list it in train\.txt and val\.txt"),
    "masks as jpeg": (jpeg_masks, r"no mask in masks/; it holds \.jpg \(2\); endings may be \.png, .*: convert"),
    "masks of other names": (
        other_names,
        r"[ab]\.jpg needs [ab]\.png, and masks/ holds a_mask\.png; .*: images/[ab]\.jpg masks/a_mask\.png$"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LACKING)
def test_missing_files_are_reported_with_what_the_folder_holds(kind: str, tmp_path: Path) -> None:
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    write, line = LACKING[kind]
    write(tmp_path)
    with pytest.raises(DatasetError, match=line) as caught:
        Folder(str(tmp_path), "train", CLASSES)
    assert str(caught.value).startswith(f"root={tmp_path}: ")
    assert "\n" not in str(caught.value)


def test_unprintable_names_are_escaped(tmp_path: Path) -> None:
    """Names with undecodable bytes or line ends can be used; messages show them escaped, in one line."""
    for index, name in enumerate((b"caf\xe9", b"two\nlines", b"plain")):
        write_pair(tmp_path / "images" / f"{index}.png", tmp_path / "masks" / f"{index}.png")
        for folder in ("images", "masks"):
            place = os.fsencode(tmp_path / folder)
            os.rename(place + f"/{index}.png".encode(), place + b"/" + name + b".png")
    splits = [Folder(str(tmp_path), split, CLASSES, cache=str(tmp_path / "cache")) for split in ("train", "val")]
    for split in splits:
        split.check()
        split.open_cache()
    assert sorted(sample.id for split in splits for sample in split) == [r"caf\udce9", "plain", r"two\nlines"]
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"junk")
    with pytest.raises(DatasetError) as caught:
        splits[0].check()
    assert str(caught.value).isprintable()
    assert "(1 more; " in str(caught.value)


def test_a_folder_named_like_a_list_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "images" / "a.png", tmp_path / "masks" / "a.png")
    (tmp_path / "train.txt").mkdir()
    with pytest.raises(DatasetError, match=r"train\.txt: cannot be read \(Is a directory\)"):
        Folder(str(tmp_path), "train", CLASSES)


def test_missing_folders_are_reported_with_those_that_exist(tmp_path: Path) -> None:
    for name in ("imgs", "labels", ".git"):
        (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=r"no folders images/ and masks/ there; it holds imgs/, labels/; set root="):
        Folder(str(tmp_path), "train", CLASSES)
    (tmp_path / "images").mkdir()
    remedy = "rename the folder that is meant to masks/, or set root=FOLDER"
    with pytest.raises(DatasetError, match=f": no folder masks/ there; it holds images/, imgs/, labels/; {remedy}$"):
        Folder(str(tmp_path), "train", CLASSES)


@pytest.mark.parametrize(
    ("image", "mask", "named"),
    [("A.JPG", "a.png", "a.png"), ("straße.png", "STRASSE.png", "STRASSE.png"), ("Day/1.jpg", "day/1.png", "day")],
)
def test_a_mask_whose_name_differs_in_case_is_named(tmp_path: Path, image: str, mask: str, named: str) -> None:
    write_pair(tmp_path / "images" / image, tmp_path / "masks" / mask)
    for stem in "bcdefg":
        write_pair(tmp_path / f"images/{stem}.png", tmp_path / f"masks/{stem}.png")
    dataset = Folder(str(tmp_path), "train", CLASSES, val_share=0.01)
    dataset.pairs = Folder(str(tmp_path), "val", CLASSES, val_share=0.01).pairs + dataset.pairs
    with pytest.raises(DatasetError, match=rf"missing; {named} exists, and upper and lower case must match"):
        dataset.check()


def test_a_name_of_a_list_that_differs_in_case_is_named(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/Street.png", tmp_path / "masks/Street.png")
    for name in ("train", "val"):
        (tmp_path / f"{name}.txt").write_text("street.png\n")
    with pytest.raises(
        DatasetError, match=r"street\.png is not in .*; Street exists, and upper and lower case must match"
    ):
        Folder(str(tmp_path), "train", CLASSES)
