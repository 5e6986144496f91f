"""Images as people have them: each is read as it looks, or refused by name."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.errors import UserError
from src.prediction.inputs import find_images, read_image, result_names

RED, SIZE = (200, 30, 10), (24, 16)  # width, height


def red(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", SIZE, RED).convert(mode, palette=Image.Palette.ADAPTIVE)


def broken_and_odd(folder: Path) -> dict[str, str]:
    """Files that cannot be used, and what must be said of each; good.png is fine."""
    folder.mkdir(parents=True, exist_ok=True)
    red().save(folder / "good.png")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(folder / "whole.jpg")
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:2000])
    (folder / "whole.jpg").rename(folder / "whole.bin")  # no image's ending: not looked at
    noise.save(folder / "torn.png")
    (folder / "torn.png").write_bytes((folder / "torn.png").read_bytes()[:3000])
    (folder / "empty.jpg").touch()
    (folder / "folder.png").mkdir()
    red().save(folder / "folder.png" / "inside.png")
    (folder / "text.jpg").write_text("not a picture\n")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    frames = [Image.new("RGB", SIZE, (index, 0, 0)) for index in (0, 100, 200)]
    frames[0].save(folder / "animation.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.ones((16, 24), np.float32)).save(folder / "float.tiff")
    Image.fromarray(np.full((16, 24), 70000, np.int32)).save(folder / "int.tiff")
    Image.new("1", (20000, 10000)).save(folder / "huge.png")
    Image.new("1", (10000, 9000)).save(folder / "large.png")
    return {
        "truncated.jpg": "cannot be read (",
        "torn.png": "cannot be read (",
        "empty.jpg": "empty (0 bytes)",
        "folder.png": "a folder, not an image",
        "text.jpg": "no image that Pillow can read",
        "loop.png": "cannot be read (",
        "nowhere.png": "cannot be read (",
        "animation.gif": "3 frames; save the one that is meant",
        "float.tiff": "samples of 32 bits (mode F)",
        "int.tiff": "samples of 32 bits (mode I)",
        "large.png": "10000x9000, more than 89,478,485 pixels; cut it into tiles",
        "huge.png": "more than 89,478,485 pixels; cut it into tiles",
    }


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_every_broken_file_gets_one_line(tmp_path: Path) -> None:
    expected = broken_and_odd(tmp_path / "in")
    _, files = find_images(str(tmp_path / "in"))
    assert {path.name for path in files} == {*expected, "good.png"}
    for path in files:
        if path.name == "good.png":
            assert (read_image(path) == RED).all()
            continue
        with pytest.raises(UserError) as caught:
            read_image(path)
        said = str(caught.value)
        assert said.startswith(f"{path}: {expected[path.name]}"), said
        assert "\n" not in said


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_is_read_as_it_looks(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("image.tiff" if mode in ("CMYK", "YCbCr", "LA") else "image.png")
    red(mode).save(path)
    pixels = read_image(path)
    assert (pixels.shape, pixels.dtype) == ((16, 24, 3), np.uint8)
    grey = np.array([79, 79, 79])  # 0.299 * 200 + 0.587 * 30 + 0.114 * 10
    expected = grey if mode in ("L", "LA") else np.asarray(red("1").convert("RGB")) if mode == "1" else RED
    assert np.abs(pixels.astype(int) - expected).max() <= 2


def test_cmyk_jpeg(tmp_path: Path) -> None:
    red("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - RED).max() < 12


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_become_eight(kind: str, tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{kind}")
    assert read_image(tmp_path / f"a.{kind}")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparent_parts_stand_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (3, 1), (*RED, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 128))
    image.save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")[0].tolist()
    assert pixels[:2] == [list(RED), [255, 255, 255]]
    assert pixels[2][0] == pytest.approx(127, abs=1)
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, *RED])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "b.png", transparency=0)
    assert read_image(tmp_path / "b.png")[0].tolist() == [[255, 255, 255], list(RED)]


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (2, 3)), (6, (0, 2)), (8, (3, 0))])
def test_photographs_are_turned_upright(orientation: int, corner: tuple[int, int], tmp_path: Path) -> None:
    """EXIF 3 is upside down, 6 wants a quarter turn clockwise, 8 counter-clockwise: where the stored top left goes."""
    image = Image.new("RGB", (4, 3))
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    pixels = read_image(tmp_path / "a.png")
    assert pixels.shape[:2] == ((4, 3) if orientation in (6, 8) else (3, 4))
    assert np.argwhere(pixels.sum(2) > 0).tolist() == [list(corner)]


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), RED).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[list(RED)]]


def test_names_keep_folders_and_lose_endings_unless_two_would_meet() -> None:
    def names(*files: str) -> list[str]:
        return result_names([Path("in", file) for file in files], Path("in"))

    assert names("a.jpg", "sub/a.jpg", "b.c.png") == ["a", "sub/a", "b.c"]
    assert names("a.jpg", "a.png", "b.png") == ["a.jpg", "a.png", "b"]
    assert names("a.jpg", "a.png", "a.jpg.png") == ["a.jpg", "a.png", "a.jpg.png"]  # all keep theirs


def test_what_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jpg", "b.PNG", "notes.txt", "sub/c.webp", "sub/deep/d.tif", "out/masks/a.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "in" / "sub" / "back").symlink_to(tmp_path / "in")  # a loop of folders
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "e.png").touch()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "other")
    base, files = find_images(str(tmp_path / "in"), without=[tmp_path / "in" / "out" / "masks"])
    assert [str(path.relative_to(base)) for path in files] == [
        "a.jpg", "b.PNG", "linked/e.png", "sub/c.webp", "sub/deep/d.tif",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert find_images("in/a.jpg") == (Path("in"), [Path("in/a.jpg")])
    base, files = find_images("in/sub/**/*.[tw][ie]*")
    assert (base, [str(path) for path in files]) == (Path("in/sub"), ["in/sub/c.webp", "in/sub/deep/d.tif"])
    assert [path.name for path in find_images("in/*")[1]] == ["a.jpg", "b.PNG", "notes.txt"]  # folders are not meant
    os.rename("in/a.jpg", "in/a[1].jpg")  # a name that looks like a pattern
    assert find_images("in/a[1].jpg") == (Path("in"), [Path("in/a[1].jpg")])
    for given, said in (("nowhere", "no such file or folder"), ("in/*.xyz", "no image there")):
        with pytest.raises(UserError, match=said):
            find_images(given)
