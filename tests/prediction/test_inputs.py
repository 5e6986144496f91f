"""The images that a file, a folder or a pattern names, and the names of their results."""

import os
from pathlib import Path

import pytest

from src.prediction.inputs import find_images, result_names
from src.system.errors import UserError


def test_names_keep_folders_and_drop_endings_unless_two_collide() -> None:
    def names(*files: str) -> list[str]:
        return result_names([Path("in", file) for file in files], Path("in"))

    assert names("a.jpg", "sub/a.jpg", "b.c.png") == ["a", "sub/a", "b.c"]
    assert names("a.jpg", "a.png", "b.png") == ["a.jpg", "a.png", "b"]
    assert names("a.jpg", "a.png", "a.jpg.png") == ["a.jpg", "a.png", "a.jpg.png"]  # all keep theirs


def test_files_folders_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    for given, said in (("nowhere", "no such file or folder"), ("in/*.xyz", "no image found")):
        with pytest.raises(UserError, match=said):
            find_images(given)


def test_a_folder_without_images_is_described(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.heic", "sub/b.HEIC", "c.txt", ".DS_Store", "._a.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(
        UserError, match=r"no image found; it holds \.heic \(2\), \.txt \(1\); endings may be \.jpg, .*PNG$"
    ):
        find_images(str(tmp_path))
