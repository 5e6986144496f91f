"""Each kind of file is decoded to the same pixels, or refused with the same line, in all places that read files."""

import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data import DatasetError, FileDataset, Folder
from src.data.decode import read_mask
from src.data.sets.unannotated import Unannotated
from src.data.sets.voc import VOC12
from src.data.survey import survey
from src.prediction import predict
from src.prediction.predictor import Predictor
from tests.conftest import real_data

RGB = np.array([[[200, 30, 10], [0, 255, 0], [1, 2, 3]], [[9, 9, 9], [255, 255, 255], [77, 0, 128]]], np.uint8)
GREY = np.array([[0, 85, 170], [255, 17, 34]], np.uint8)
WHITE = [255, 255, 255]
# Where EXIF says that the stored picture has to be mirrored or turned (CIPA DC-008, tag 274).
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


class Pairs(FileDataset):
    """A data set of one image and one mask."""

    classes = ("ground", "thing")
    palette = np.zeros((2, 3), np.uint8)

    def __init__(self, image: Path, mask: Path, **options: Any) -> None:
        super().__init__([("it", image, mask)], **options)


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, 2)


def save(pixels: np.ndarray, path: Path, mode: str = "", **options: Any) -> None:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def save_png(path: Path, bits: int, row: bytes, width: int, transparent: int | None = None) -> None:
    """Write a grey PNG of one row, byte by byte; Pillow cannot write PNGs of 2 and 4 bits."""
    header = struct.pack(">IIBBBBB", width, 1, bits, 0, 0, 0, 0)
    colour = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
    data = chunk(b"IDAT", zlib.compress(b"\0" + row))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colour + data + chunk(b"IEND", b""))


def save_palette(path: Path, **options: Any) -> None:
    """Write the six colours of ``RGB`` as palette entries 0 to 5."""
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    image.putpalette(RGB.tobytes())
    image.save(path, **options)


def save_turned(path: Path, orientation: int, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    save(pixels, path, exif=exif)


def save_mpo(path: Path) -> None:
    Image.new("RGB", (3, 2), (128, 128, 128)).save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (3, 2))])


def save_deep(path: Path) -> None:
    """Write an RGB PNG of 16 bits, which Pillow cannot write."""
    cv2.imwrite(str(path), np.uint16([[[0xFFFF, 0x1FF, 0x200], [0x1034, 0xFF, 0]]]))  # BGR


def with_alpha(pixels: np.ndarray, alpha: list[list[int]]) -> np.ndarray:
    return np.concatenate([pixels, np.uint8(alpha)[..., None]], 2)


# Kind: the file's ending, what writes it, and the pixels that it must become.
IMAGES: dict[str, tuple[str, Callable[[Path], None], Any]] = {
    "rgb": ("png", lambda p: save(RGB, p), RGB),
    "rgb of 16 bits": ("png", save_deep, [[[2, 1, 255], [0, 0, 16]]]),
    "rgb of 16 bits, tiff": ("tif", save_deep, [[[2, 1, 255], [0, 0, 16]]]),
    "jpeg": ("jpg", lambda p: Image.new("RGB", (3, 2), (128, 128, 128)).save(p), np.full((2, 3, 3), 128)),
    "webp": ("webp", lambda p: save(RGB, p, lossless=True), RGB),
    "grey": ("png", lambda p: save(GREY, p), rgb(GREY)),
    "grey of 1 bit": ("png", lambda p: save(GREY > 100, p), rgb(np.uint8([[0, 0, 255], [255, 0, 0]]))),
    "grey of 2 bits": ("png", lambda p: save_png(p, 2, bytes([0b00011011]), 4), rgb(np.uint8([[0, 85, 170, 255]]))),
    "grey of 4 bits": ("png", lambda p: save_png(p, 4, bytes([0x0F, 0x12]), 4), rgb(np.uint8([[0, 255, 17, 34]]))),
    "grey of 16 bits": ("png", lambda p: save(GREY.astype(np.uint16) * 257, p), rgb(GREY)),
    "grey of 16 bits, tiff": ("tif", lambda p: save(GREY.astype(np.uint16) * 257, p), rgb(GREY)),
    "grey of 16 bits, big end first": ("tif", lambda p: save(GREY.astype(">u2") * 257, p), rgb(GREY)),
    "grey of 16 bits, pgm": (
        "pgm", lambda p: p.write_bytes(b"P5 2 1 65535\n" + struct.pack(">HH", 257, 65535)), [[[1] * 3, WHITE]]),
    "grey of 16 bits, transparent": (
        "png", lambda p: save_png(p, 16, struct.pack(">HH", 514, 257), 2, transparent=514), [[WHITE, [1] * 3]]),
    "palette": ("png", save_palette, RGB),
    "palette, gif": ("gif", save_palette, RGB),
    "palette, transparent": (
        "png", lambda p: save_palette(p, transparency=2), [[*RGB[0, :2].tolist(), WHITE], RGB[1].tolist()]),
    "alpha": (
        "png",
        lambda p: save(with_alpha(RGB, [[51, 255, 0], [255, 255, 255]]), p),
        [[[244, 210, 206], RGB[0, 1].tolist(), WHITE], RGB[1].tolist()]),  # 200 * 0.2 + 255 * 0.8 = 244
    "grey with alpha": (
        "png", lambda p: save(np.uint8([[[100, 0], [100, 51], [100, 255]]]), p), [[WHITE, [224] * 3, [100] * 3]]),
    "cmyk": ("tif", lambda p: Image.new("CMYK", (1, 1), (255, 55, 5, 0)).save(p), [[[0, 200, 250]]]),
    "two pictures in one jpeg": ("jpg", save_mpo, np.full((2, 3, 3), 128)),
    "one pixel": ("png", lambda p: save(RGB[:1, :1], p), RGB[:1, :1]),
    **{
        f"exif {number}": ("png", lambda p, n=number: save_turned(p, n, RGB), turn(RGB))
        for number, turn in UPRIGHT.items()
    },
    "exif 6, tiff": ("tif", lambda p: save_turned(p, 6, RGB), UPRIGHT[6](RGB)),
    "exif 8, 16 bits": ("png", lambda p: save_turned(p, 8, GREY.astype(np.uint16) * 257), rgb(UPRIGHT[8](GREY))),
}  # fmt: skip


def through_predict(path: Path, folder: Path) -> np.ndarray:
    """Return the pixels that predict gives to the network."""
    seen = []
    network = SimpleNamespace(
        device=SimpleNamespace(type="cpu"), scores=lambda pixels: seen.append(pixels), refine=lambda *_, **__: None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "save_prediction", lambda *_: None)
        if faults := predict.run([predict.ImageJob(path, path.name, {})], network):
            raise DatasetError("\n".join(faults))
    return seen[0]


def through_cache(path: Path, mask: Path, folder: Path) -> np.ndarray:
    data = Pairs(path, mask, cache=str(folder / "cache"))
    data.open_cache()
    assert data.cache is not None
    stored = data.cache.get(0)
    assert stored is not None
    return stored[0]


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_the_same_everywhere(kind: str, tmp_path: Path) -> None:
    ending, write, expected = IMAGES[kind]
    path, mask = tmp_path / f"it.{ending}", tmp_path / "mask.png"
    write(path)
    expected = np.array(expected, np.uint8)
    save(np.zeros(expected.shape[:2], np.uint8), mask)
    data = Pairs(path, mask)
    assert survey(data, 0).lines() == []
    found = {
        "training": data[0].image,
        "cache": through_cache(path, mask, tmp_path),
        "split=test": Unannotated(data)[0].image,
        "Predictor": Predictor.pixels(path),
        "predict": through_predict(path, tmp_path),
    }
    if "pgm" not in kind:  # the number of bits of an open image is not known
        found["Predictor, opened"] = Predictor.pixels(Image.open(path))
    for name, pixels in found.items():
        assert pixels.dtype == np.uint8, name
        assert np.array_equal(pixels, expected), name


def test_ink_of_a_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    colour = (200, 30, 10)
    Image.new("RGB", (24, 16), colour).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(Predictor.pixels(tmp_path / "a.jpg").astype(int) - colour).max() < 12


def torn(path: Path, share: float = 0.5) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    save(noise, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def frames(path: Path) -> None:
    pages = [Image.new("RGB", (3, 2), (shade, 0, 0)) for shade in (0, 100, 200)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def header_of(path: Path, side: int) -> None:
    """Write a PNG of a few bytes whose header claims side x side pixels."""
    save(RGB, path)
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


# Kind: the file's ending, what writes it, and the line behind its name.
REFUSED: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "animated gif": ("gif", frames, r"3 frames or pages; save the one you want"),
    "animated png": ("png", frames, r"3 frames or pages; save"),
    "animated webp": ("webp", frames, r"3 frames or pages; save"),
    "several pages": ("tif", frames, r"3 frames or pages; save"),
    "floats": ("tif", lambda p: save(np.ones((2, 3), np.float32), p), r"32-bit pixels of unknown range \(mode F\)"),
    "integers of 32 bits": (
        "tif",
        lambda p: save(np.ones((2, 3), np.int32), p),
        r"32-bit pixels of unknown range \(mode I\)",
    ),
    "large": ("png", lambda p: header_of(p, 9500), r"9500x9500, more than 89,478,485 pixels; cut it into tiles"),
    "huge": ("png", lambda p: header_of(p, 40_000), r"more than 89,478,485 pixels; cut it into tiles"),
    "empty": ("png", lambda p: p.touch(), r"an empty file; copy it again"),
    "torn png": ("png", torn, r"cannot be read \(.+\); copy it again"),
    "torn jpeg": ("jpg", torn, r"cannot be read \(image file is truncated"),
    "torn header": ("png", lambda p: torn(p, 0.001), r"(cannot be read|not an image that Pillow can read)"),
    "folder": ("png", lambda p: p.mkdir(), r"a folder, not a file"),
    "pipe": ("png", lambda p: os.mkfifo(p), r"not a regular file"),
    "text": ("jpg", lambda p: p.write_text("not a picture"), r"not an image that Pillow can read; save it as PNG"),
    "link to nothing": ("png", lambda p: p.symlink_to("nowhere"), r"a broken link"),
    "link to itself": ("png", lambda p: p.symlink_to(p), r"cannot be read \(Too many levels"),
    "missing": ("png", lambda p: None, r"missing"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_is_refused_in_the_same_line_everywhere(kind: str, tmp_path: Path) -> None:
    ending, write, line = REFUSED[kind]
    path, mask = tmp_path / f"bad.{ending}", tmp_path / "mask.png"
    write(path)
    save(GREY[:, :2] * 0, mask)
    data = Pairs(path, mask)
    lines = survey(data, 0).lines() + survey(Unannotated(data), 0).lines()
    for read in (
        lambda: data[0],
        lambda: Unannotated(data)[0],
        lambda: Predictor.pixels(path),
        lambda: through_predict(path, tmp_path),
    ):
        with pytest.raises(DatasetError) as caught:
            read()
        lines.append(str(caught.value))
    assert len(lines) == 6
    assert len({line.partition("; add it, ")[0] for line in lines}) == 1, lines  # a pair's missing file has a remedy
    assert "\n" not in lines[0]
    assert lines[0].startswith(f"{path}: ")
    assert re.search(line, lines[0])


# Kind: the mask's ending, what writes it, and the values that it must become.
MASKS: dict[str, tuple[str, Callable[[Path], Any], Any]] = {
    "grey": ("png", lambda p: save(GREY, p), GREY),
    "grey of 1 bit": ("png", lambda p: save(GREY > 100, p), [[0, 0, 1], [1, 0, 0]]),
    "grey of 2 bits": ("png", lambda p: save_png(p, 2, bytes([0b00011011]), 4), [[0, 1, 2, 3]]),
    "grey of 4 bits": ("png", lambda p: save_png(p, 4, bytes([0x0F, 0x12]), 4), [[0, 15, 1, 2]]),
    "grey of 8 bits that are multiples of 85": ("png", lambda p: save(np.uint8([[85, 170]]), p), [[85, 170]]),
    "grey of 16 bits": ("png", lambda p: save(np.uint16([[0, 257, 65535]]), p), [[0, 257, 65535]]),
    "grey of 16 bits, big end first": ("tif", lambda p: save(np.array([[1, 300]], ">u2"), p), [[1, 300]]),
    "integers of 32 bits": ("tif", lambda p: save(np.int32([[1, 70_000]]), p), [[1, 70_000]]),
    "palette": ("png", save_palette, np.arange(6).reshape(2, 3)),
    "palette of 4 bits": ("png", lambda p: save_palette(p, bits=4), np.arange(6).reshape(2, 3)),
    "palette, bmp": ("bmp", save_palette, np.arange(6).reshape(2, 3)),
    "palette, gif": ("gif", save_palette, np.arange(6).reshape(2, 3)),
    "palette, transparent": ("png", lambda p: save_palette(p, transparency=2), np.arange(6).reshape(2, 3)),
    "grey with alpha": ("png", lambda p: save(np.uint8([[[7, 0], [9, 255]]]), p), [[7, 9]]),
    "colours": ("png", lambda p: save(RGB, p), RGB),
    "colours with alpha": (
        "png",
        lambda p: save(with_alpha(RGB, [[51, 255, 0], [255, 255, 255]]), p),
        with_alpha(RGB, [[51, 255, 0], [255, 255, 255]]),
    ),
    **{
        f"exif {number}": ("png", lambda p, n=number: save_turned(p, n, GREY), turn(GREY))
        for number, turn in UPRIGHT.items()
    },
    "exif 6, 16 bits": ("png", lambda p: save_turned(p, 6, GREY.astype(np.uint16) * 257), UPRIGHT[6](GREY) * 257.0),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_keeps_its_values(kind: str, tmp_path: Path) -> None:
    ending, write, expected = MASKS[kind]
    write(tmp_path / f"mask.{ending}")
    values = read_mask(tmp_path / f"mask.{ending}").values
    assert values.dtype.kind in "iu"
    assert values.tolist() == np.array(expected).tolist()


def save_jpeg_in_tiff(path: Path) -> None:
    Image.new("RGB", (16, 16)).save(path, compression="jpeg")


REFUSED_MASKS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "jpeg": ("png", lambda p: save(GREY, p, format="JPEG"), "JPEG does not keep labels exactly; save the original"),
    "jpeg in a tiff": ("tif", save_jpeg_in_tiff, "JPEG does not keep labels exactly; save the original"),
    "webp": ("png", lambda p: save(RGB, p, format="WEBP"), "WEBP does not keep labels exactly; save the original"),
    "mpo": ("png", save_mpo, "JPEG does not keep labels exactly; save the original"),
    "floats": (
        "tif",
        lambda p: save(np.ones((2, 3), np.float32), p),
        "samples of mode F; masks must hold whole numbers",
    ),
    "colours of 16 bits": (
        "png",
        save_deep,
        "16-bit colours, of which only 8 bits are read; save the mask with 8 bits",
    ),
    "cmyk": ("tif", lambda p: Image.new("CMYK", (3, 2)).save(p), "samples of mode CMYK; masks must hold whole"),
    **{kind: REFUSED[kind] for kind in ("animated gif", "animated png", "several pages", "large", "empty", "torn png")},
}


@pytest.mark.parametrize("kind", REFUSED_MASKS)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_mask_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    ending, write, line = REFUSED_MASKS[kind]
    path = tmp_path / f"bad.{ending}"
    write(path)
    with pytest.raises(DatasetError, match=line) as caught:
        read_mask(path)
    assert str(caught.value).startswith(f"{path}: ")


def odd(name: str, classes: int = 2, **options: Any) -> Folder:
    return Folder(str(real_data("odd_inputs") / name), "train", [f"c{index}" for index in range(classes)], **options)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("exif180", 2),
        ("exif90", 2),
        ("exif90_square", 2),
        ("exif_mirror", 2),
        ("grey1bit", 2),
        ("grey2bit", 3),
        ("grey4bit", 3),
        ("mask16", 2),
        ("gray16_images", 2),
    ],
)
def test_masks_are_aligned_with_their_images(name: str, classes: int) -> None:
    """Each class has one colour in these images, up to noise and JPEG; a turned mask would widen its spread."""
    data = odd(name, classes)
    data.check()
    for index, (_, path, _) in enumerate(data.pairs):
        image, label, _ = data[index]
        assert set(np.unique(label)) <= set(range(classes))
        assert len(np.unique(label)) > 1
        for present in np.unique(label):
            assert image[label == present].std(0).max() < 20
        assert np.array_equal(Predictor.pixels(path), image)


def test_masks_of_0_and_65535_are_mapped() -> None:
    data = odd("mask16_255x257", values=[0, 65535])
    data.check()
    for index, (_, _, mask) in enumerate(data.pairs):
        assert np.array_equal(data[index].label, np.asarray(Image.open(mask)) > 0)


def test_a_hidden_test_split_is_read_as_predict_reads_it() -> None:
    data = Unannotated(VOC12(str(real_data("odd_inputs") / "voc_test16"), "test"))
    image = data[0].image
    assert np.array_equal(image[..., 0], np.asarray(Image.open(data.pairs[0][1])) // 257)
    assert np.array_equal(image, Predictor.pixels(data.pairs[0][1]))


@pytest.mark.parametrize(("name", "line"), [("multipage", "2 frames or pages"), ("float_tiff", "samples of mode F")])
def test_unreadable_files_of_a_data_set_are_named(name: str, line: str) -> None:
    with pytest.raises(DatasetError, match=line):
        odd(name).check()
