"""Unpacking archives, valid and damaged ones."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from src.system.archives import extract
from src.system.errors import UserError

FILES = {"top/in/a.txt": b"one", "top/in/deep/b.txt": b"second", "top/other.txt": b"not asked for"}


def make(path, files):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in files.items():
                file.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
def test_a_folder_of_an_archive(tmp_path, kind):
    target = tmp_path / "out"
    assert extract(make(tmp_path / kind, FILES), target, "top/in") == 2
    assert tree(target) == {"a.txt": b"one", "deep/b.txt": b"second"}
    (target / "a.txt").write_bytes(b"o")  # left by an older tool that was stopped
    assert extract(tmp_path / kind, target, "top/in") == 1
    assert tree(target) == {"a.txt": b"one", "deep/b.txt": b"second"}
    assert extract(tmp_path / kind, target, "top/in") == 0
    assert extract(tmp_path / kind, tmp_path / "part", "top/in", only="deep/*") == 1


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
@pytest.mark.parametrize(
    "name", ["../evil.txt", "top/in/../../../evil.txt", "/tmp/evil.txt", "..\\evil.txt", "C:/evil.txt", "top/.."]
)
def test_a_path_outside_the_folder_stops_before_the_first_file(tmp_path, kind, name):
    archive = make(tmp_path / kind, {**FILES, name: b"evil"})
    with pytest.raises(UserError, match=r"a\.\w+: holds the path .* nothing was unpacked"):
        extract(archive, tmp_path / "deep/down/out", "top/in")
    assert set(tree(tmp_path)) == {kind}


def test_links_and_pipes_are_not_unpacked(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind, target in ((tarfile.SYMTYPE, "/etc"), (tarfile.LNKTYPE, "/etc/passwd"), (tarfile.FIFOTYPE, "")):
            info = tarfile.TarInfo(f"in/{kind.decode()}")
            info.type, info.linkname = kind, target
            tar.addfile(info)
        info = tarfile.TarInfo("in/2/evil.txt")  # this would be written through the symbolic link
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        link = zipfile.ZipInfo("in/link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    assert extract(tmp_path / "a.tar", tmp_path / "tar", "in") == 1
    assert extract(tmp_path / "a.zip", tmp_path / "zip", "in") == 0
    assert tree(tmp_path / "tar") == {"2/evil.txt": b"x"}
    assert not os.path.exists("/etc/evil.txt")


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
def test_damaged_archives_are_named(tmp_path, kind):
    archive = make(tmp_path / kind, {"in/a": os.urandom(50_000), "in/b": os.urandom(50_000)})
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=rf"{kind}: damaged .*delete it"):
        extract(archive, tmp_path / "out", "in")
    archive.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="neither a tar nor a zip file"):
        extract(archive, tmp_path / "out", "in")


def test_a_flipped_bit_in_a_zip_leaves_no_torn_file(tmp_path):
    archive = make(tmp_path / "a.zip", {"in/a": os.urandom(50_000)})
    content = bytearray(archive.read_bytes())
    content[25_000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        extract(archive, tmp_path / "out", "in")
    assert not (tmp_path / "out" / "a").exists()


def test_too_little_space_is_reported_before_unpacking(tmp_path, monkeypatch):
    monkeypatch.setattr("src.system.archives.shutil.disk_usage", lambda _: type("Usage", (), {"free": 5}))
    with pytest.raises(UserError, match="GB are needed"):
        extract(make(tmp_path / "a.zip", FILES), tmp_path / "out", "top")
