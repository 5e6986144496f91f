"""A data set with one bad pair of every kind: each fault is named in a line, and the good samples are kept."""

import io
import logging
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data import DatasetError, Folder
from src.data.survey import survey

CLASSES = ["ground", "thing", "other"]
SIZE = (40, 30)


def jpeg(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def save(path: Path, mode: str, value, size=SIZE, **options) -> None:
    Image.new(mode, size, value).save(path, **options)


def swap_for_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def huge(path: Path) -> None:
    """Write a PNG of a few bytes whose header claims 40,000 x 40,000 pixels."""
    save(path, "RGB", 0, (1, 1), format="PNG")
    content = bytearray(path.read_bytes())
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def one_pixel(path: Path, value: int) -> None:
    label = np.ones((SIZE[1], SIZE[0]), np.uint8)
    label[3, 4] = value
    Image.fromarray(label).save(path)


# By name: the change to images/bad.jpg (i) and masks/bad.png (m), and the expected line
BROKEN = {
    "image missing": (lambda i, m: i.unlink(), r"bad\.png: no image of this name in .*images"),
    "image cut in half": (lambda i, m: cut(i, 0.5), r"bad\.jpg: cannot be read \(image file is truncated"),
    "image cut in its header": (lambda i, m: cut(i, 0.02), r"bad\.jpg: "),
    "image empty": (lambda i, m: i.write_bytes(b""), r"bad\.jpg: an empty file"),
    "image zeroed": (lambda i, m: i.write_bytes(bytes(5000)), r"bad\.jpg: not an image that Pillow can read"),
    "image is text": (lambda i, m: i.write_text("see above"), r"bad\.jpg: not an image that Pillow can read"),
    "image is a folder": (lambda i, m: swap_for_folder(i), r"bad\.jpg: a folder, not a file"),
    "image links to itself": (lambda i, m: loop(i), r"bad\.jpg: cannot be read \(Too many levels of symbolic links\)"),
    "image links to nothing": (lambda i, m: dangle(i), r"bad\.jpg: a broken link"),
    "image is a pipe": (lambda i, m: pipe(i), r"bad\.jpg: not a regular file"),
    "image is huge": (lambda i, m: huge(i), r"bad\.jpg: more than 89,478,485 pixels; cut it into tiles"),
    "image of floats": (lambda i, m: save(i, "F", 0.5, format="TIFF"), r"bad\.jpg: 32-bit pixels of unknown range"),
    "image of another size": (lambda i, m: save(i, "RGB", 0, (41, 30)), r"is 40x30, its image .*bad\.jpg is 41x30"),
    "image turned": (lambda i, m: save(i, "RGB", 0, (30, 40)), r"before EXIF rotation"),
    "image of an unknown kind": (lambda i, m: i.rename(i.with_suffix(".heic")), r"bad\.heic: not used here; endings"),
    "image in two kinds": (
        lambda i, m: save(i.with_suffix(".png"), "RGB", 0),
        r"bad\.png: has the same name as bad\.jpg",
    ),
    "mask missing": (lambda i, m: m.unlink(), r"bad\.png: missing; add it, remove the line of its image from .*train"),
    "mask cut in half": (lambda i, m: cut(m, 0.5), r"bad\.png: cannot be read"),
    "mask with a wrong checksum": (
        lambda i, m: m.write_bytes(m.read_bytes().replace(b"IDAT", b"IDAX")), r"bad\.png: not an image"),
    "mask empty": (lambda i, m: m.write_bytes(b""), r"bad\.png: an empty file"),
    "mask is a folder": (lambda i, m: swap_for_folder(m), r"bad\.png: a folder, not a file"),
    "mask links to itself": (lambda i, m: loop(m), r"bad\.png: cannot be read \(Too many levels of symbolic links\)"),
    "mask of another size": (lambda i, m: save(m, "L", 1, (40, 31)), r"bad\.png: the mask is 40x31, its image"),
    "mask with label 77": (lambda i, m: one_pixel(m, 77), r"bad\.png: labels \[77\] are neither a class \(0\.\.2\)"),
    "mask with label 3 of 3": (lambda i, m: one_pixel(m, 3), r"bad\.png: labels \[3\] are neither"),
    "mask with label 300": (
        lambda i, m: Image.fromarray(np.full((SIZE[1], SIZE[0]), 300, np.uint16)).save(m), r"bad\.png: labels \[300\]"),
    "mask in colours": (
        lambda i, m: save(m, "RGB", (255, 0, 0)), r"bad\.png: has colours, such as \[\[255, 0, 0\]\]; .*'palette="),
    "mask with label 7 and transparency": (lambda i, m: save(m, "LA", (7, 255)), r"bad\.png: labels \[7\] are neither"),
    "mask is a JPEG": (lambda i, m: m.write_bytes(jpeg()), r"bad\.png: JPEG does not keep labels exactly"),
    "mask named .jpg": (lambda i, m: m.rename(m.with_suffix(".jpg")), r"masks/bad\.jpg: not used here"),
    "mask is text": (lambda i, m: m.write_text("{}"), r"bad\.png: not an image that Pillow can read"),
    "mask of floats": (lambda i, m: save(m, "F", 0.5, format="TIFF"), r"bad\.png: samples of mode F"),
}  # fmt: skip
NO_SAMPLE = {"image missing", "image of an unknown kind"}  # nothing to skip: the folder has one image fewer
STILL_GOOD = {"image in two kinds"}


@pytest.fixture
def folder(tmp_path):
    """Return a folder of five good pairs and one named "bad"."""
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    for index, name in enumerate(["a", "b", "bad", "c", "d", "e"]):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(jpeg(index))
        save(tmp_path / "masks" / f"{name}.png", "L", index % 3)
    return tmp_path


def dataset(folder, **options):
    names = sorted(path.stem for path in (folder / "images").iterdir() if path.suffix != ".heic")
    (folder / "train.txt").write_text("\n".join(dict.fromkeys(names)))
    (folder / "val.txt").write_text("a")
    return Folder(str(folder), "train", CLASSES, **options)


def spoil(folder, kind):
    BROKEN[kind][0](folder / "images" / "bad.jpg", folder / "masks" / "bad.png")
    return BROKEN[kind][1]


@pytest.mark.parametrize("kind", BROKEN)
def test_verify_names_the_file_and_counts_the_rest(folder, kind):
    said = spoil(folder, kind)
    found = survey(dataset(folder), workers=0)
    lines = "\n".join(found.lines())
    assert re.search(said, lines), lines
    assert "bad" in lines
    assert all("bad" in line for line in found.lines())
    good = found.samples - len(found.faults)
    assert good == 5 + (kind in STILL_GOOD)
    if kind not in STILL_GOOD:
        assert found.pixels[:3].tolist() == [1200 * n for n in (2, 2, 1)]


@pytest.mark.parametrize("kind", BROKEN)
def test_skip_drops_the_bad_sample_with_a_warning(folder, kind, caplog):
    spoil(folder, kind)
    data = dataset(folder, on_error="skip")
    with caplog.at_level(logging.WARNING):
        data.check()
    assert "bad" in caplog.text
    skipped = kind not in NO_SAMPLE | STILL_GOOD
    assert ("skipped 1 of 6 samples; 5 are left" in caplog.text) == skipped
    expected = ["a", "b", *(["bad"] if kind in STILL_GOOD else []), "c", "d", "e"]
    assert [data[i].id for i in range(len(data))] == expected


@pytest.mark.parametrize("kind", sorted(BROKEN.keys() - NO_SAMPLE - STILL_GOOD))
def test_training_stops_before_it_starts(folder, kind):
    said = spoil(folder, kind)
    with pytest.raises(DatasetError) as caught:
        dataset(folder).check()
    if "not used here" not in said:
        assert re.search(said, str(caught.value))


def test_all_faults_are_named_with_two_processes(folder):
    """Half of the kinds of faults, each in a folder of its own, are checked by two processes: one line each."""
    for index, kind in enumerate(BROKEN):
        image, mask = folder / "images" / f"bad{index}.jpg", folder / "masks" / f"bad{index}.png"
        image.write_bytes(jpeg())
        save(mask, "L", 1)
        BROKEN[kind][0](image, mask)
    found = survey(dataset(folder), workers=2)
    text = "\n".join(found.lines())
    assert [kind for index, kind in enumerate(BROKEN) if f"bad{index}." not in text] == []
    assert len(found.faults) == len(BROKEN) - len(NO_SAMPLE | STILL_GOOD)


def test_both_files_of_a_pair_are_named(folder):
    spoil(folder, "image is text")
    spoil(folder, "mask is text")
    found = survey(dataset(folder), workers=0)
    assert ["bad.jpg" in line or "bad.png" in line for line in found.lines()] == [True, True]


def test_unreadable_file(folder, monkeypatch):
    (folder / "images/bad.jpg").chmod(0)
    if os.geteuid() == 0:  # root can read every file
        monkeypatch.setattr("src.data.decode.os.access", lambda path, _: path.name != "bad.jpg")
    assert any("bad.jpg: not readable" in line for line in survey(dataset(folder), 0).lines())


def test_a_split_without_good_samples_is_an_error(folder):
    for path in (folder / "images").iterdir():
        path.write_text("no")
    with pytest.raises(DatasetError, match=r"no sample is without a fault; the first fault: .*a\.jpg"):
        dataset(folder, on_error="skip").check()


def test_unusual_but_valid_files_are_accepted(folder):
    """Images with an alpha channel, in grey, of 16 bits, in CMYK; masks of 1 bit, of 16 bits, with a palette."""
    images, masks = folder / "images", folder / "masks"
    save(images / "a.jpg", "CMYK", (0, 0, 0, 0))
    save(images / "b.jpg", "RGBA", (1, 2, 3, 0), format="PNG")
    save(images / "c.jpg", "L", 7)
    save(images / "d.jpg", "I;16", 700, format="PNG")
    save(masks / "a.png", "1", 1)
    Image.fromarray(np.full((SIZE[1], SIZE[0]), 2, np.uint16)).save(masks / "b.png")
    coloured = Image.new("P", SIZE, 2)
    coloured.putpalette([9] * 768)
    coloured.save(masks / "c.png")
    data = dataset(folder)
    assert survey(data, 0).lines() == []
    labels = {data[i].id: np.unique(data[i].label).tolist() for i in range(3)} | {
        "c": np.unique(data[3].label).tolist()
    }
    assert (labels["a"], labels["b"], labels["c"]) == ([1], [2], [2])
    assert (data[0].image >= 250).all()  # no ink
    assert data[1].image[0, 0].tolist() == [255, 255, 255]  # transparent
    assert data[1].label.dtype == np.uint8
