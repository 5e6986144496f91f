"""Whole releases in miniature, from a local server to the data set class that reads them."""

import hashlib
import io
import tarfile
import zipfile

import numpy as np
import pytest
import scipy.io
from PIL import Image

from src.data import ADE20K, VOC12, CamVid, Cityscapes
from src.data.release.release import Archive, Release, git_tree
from src.data.release.sbd import MergeSBD
from src.system.errors import UserError
from tests.server import serving

SIZE = (12, 9)
PAGE = "https://example.org"


@pytest.fixture
def site():
    with serving() as site:
        yield site


def png(value: int, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, SIZE, value).save(buffer, "PNG")
    return buffer.getvalue()


def jpg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (9, 9, 9)).save(buffer, "JPEG")
    return buffer.getvalue()


def mat(label: np.ndarray) -> bytes:
    """Return a file like SBD's cls/*.mat: a struct GTcls with Boundaries, Segmentation and CategoriesPresent."""
    buffer = io.BytesIO()
    scipy.io.savemat(
        buffer, {"GTcls": {"Boundaries": np.zeros((20, 1), object), "Segmentation": label, "CategoriesPresent": [1]}}
    )
    return buffer.getvalue()


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


def archive(site, name, content, **options):
    site.files[f"/{name}"] = content
    checksum = f"md5:{hashlib.md5(content).hexdigest()}"
    return Archive(name, PAGE, urls=[f"{site.url}/{name}"], checksum=checksum, **options)


def voc_aug(site) -> Release:
    """Write the archives of VOC (train a b, val c, six images) and of SBD (train b d, val c e)."""
    base = "VOCdevkit/VOC2012"
    devkit = {f"{base}/JPEGImages/{name}.jpg": jpg() for name in "abcdef"}
    devkit |= {f"{base}/SegmentationClass/{name}.png": png(value) for name, value in zip("abc", (1, 2, 3), strict=True)}
    devkit |= {
        f"{base}/ImageSets/Segmentation/train.txt": b"a\nb\n",
        f"{base}/ImageSets/Segmentation/val.txt": b"c\n",
    }
    label = np.zeros(SIZE[::-1], np.uint8)
    label[:, :3] = 15
    sbd = {f"benchmark_RELEASE/dataset/cls/{name}.mat": mat(label) for name in "bcde"}
    sbd |= {"benchmark_RELEASE/dataset/train.txt": b"b\nd", "benchmark_RELEASE/dataset/val.txt": b"c\ne\n"}
    sbd |= {f"benchmark_RELEASE/dataset/img/{name}.jpg": jpg() for name in "bcde"}
    lists = "ImageSets/Segmentation"
    return Release(
        {
            "devkit": archive(
                site, "VOC.tar", tar(devkit), inside=base,
                counts={f"{lists}/train.txt": 2, f"{lists}/val.txt": 1, "JPEGImages/*.jpg": 6},
            ),
            "sbd": MergeSBD(
                archive(
                    site, "benchmark.tgz", tar(sbd, "w:gz"), inside="benchmark_RELEASE/dataset", folder="SBD",
                    only="[!i]*", counts={"SBD/cls/*.mat": 4, "SBD/train.txt": 2, "SBD/val.txt": 2},
                ),
                {f"{lists}/train_aug.txt": 4, "SegmentationClassAug/*.png": 5},
            ),
        }
    )  # fmt: skip


def test_voc_with_sbd(site, tmp_path):
    root = tmp_path / "data/VOC2012"
    voc_aug(site).prepare(root, tmp_path / "downloads")
    train = VOC12(str(root), "train", "SegmentationClassAug", {"train": "train_aug"})
    assert [id_ for id_, *_ in train.pairs] == ["a", "b", "d", "e"]  # SBD and VOC's train, without VOC's val
    assert [np.unique(train[i].label).tolist() for i in range(4)] == [[1], [2], [0, 15], [0, 15]]  # VOC's own first
    assert (train[2].label[:, :3] == 15).all()
    val = VOC12(str(root), "val", "SegmentationClassAug")
    assert [np.unique(val[i].label).tolist() for i in range(len(val))] == [[3]]
    assert not (root / "SBD/img").exists()
    assert Image.open(root / "SegmentationClassAug/d.png").getpalette()[45:48] == [192, 128, 128]  # VOC's person


def test_finished_steps_are_not_repeated(site, tmp_path):
    release, root = voc_aug(site), tmp_path / "VOC2012"
    release.prepare(root, tmp_path / "downloads")
    asked = len(site.asked)
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    release.prepare(root, tmp_path / "downloads")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == stamps
    (root / "SegmentationClassAug/d.png").unlink()
    (root / "JPEGImages/f.jpg").unlink()
    release.prepare(root, tmp_path / "downloads")
    assert set(root.rglob("*")) == stamps.keys()
    assert len(site.asked) == asked  # the archives were still there


def test_broken_mat_files_are_all_named(site, tmp_path):
    release, root = voc_aug(site), tmp_path / "VOC2012"
    release.prepare(root, tmp_path / "downloads")
    for name in "de":
        (root / f"SBD/cls/{name}.mat").write_bytes(b"no")
        (root / f"SegmentationClassAug/{name}.png").unlink()
    with pytest.raises(UserError) as caught:
        release.prepare(root, tmp_path / "downloads")
    assert "d.mat: cannot be read" in str(caught.value)
    assert "e.mat: cannot be read" in str(caught.value)


def test_a_release_with_too_few_names_is_reported(site, tmp_path):
    release = voc_aug(site)
    release.parts["devkit"].counts["ImageSets/Segmentation/train.txt"] = 1464
    with pytest.raises(UserError, match=r"not complete after devkit: ImageSets/Segmentation/train\.txt: 2 of 1,464"):
        release.prepare(tmp_path / "VOC2012", tmp_path / "downloads")


def test_camvid_is_checked_by_gits_hashes(site, tmp_path):
    files = {f"repo-1/CamVid/{f}/{i}.png": png(i) for f in ("train", "trainannot", "val", "valannot") for i in (0, 1)}
    site.files["/r.zip"] = zipped(files)

    def release(**trees):
        counts = {"train/*.png": 2, "valannot/*.png": 2}
        return Release(
            {"repo": Archive("r.zip", PAGE, counts, [f"{site.url}/r.zip"], None, "repo-1/CamVid", git_trees=trees)}
        )

    with pytest.raises(UserError, match=r"trainannot: differs from .*; delete it"):
        release(trainannot="0" * 40).prepare(tmp_path / "a", tmp_path / "downloads")
    release(trainannot=git_tree(tmp_path / "a/trainannot")).prepare(tmp_path / "b", tmp_path / "downloads")
    assert len(CamVid(str(tmp_path / "b"), "val")) == 2


def test_tree_hash_equals_git_mktree(tmp_path):
    """The expected hash is from git mktree, for hello.txt (blob ce013625...) and z.txt (empty, blob e69de29b...)."""
    (tmp_path / "hello.txt").write_bytes(b"hello\n")
    (tmp_path / "z.txt").write_bytes(b"")
    assert git_tree(tmp_path) == "1cdf1f804ab283e8c813b7c705d4f73f98e742b1"


def test_ade20k(site, tmp_path):
    names = ["wall", "screen, silver screen", "screen, CRT screen", *(f"thing {i}" for i in range(147))]
    table = "Idx\tRatio\tTrain\tVal\tStuff\tName\n" + "".join(f"{i}\t0\t1\t1\t0\t{n}\n" for i, n in enumerate(names, 1))
    base = "ADEChallengeData2016"
    files = {f"{base}/objectInfo150.txt": table.encode()}
    for folder, name in (("training", "ADE_train_1"), ("validation", "ADE_val_1")):
        label = np.zeros(SIZE[::-1], np.uint8)
        label[0, :2] = 1, 150
        buffer = io.BytesIO()
        Image.fromarray(label).save(buffer, "PNG")
        files |= {
            f"{base}/images/{folder}/{name}.jpg": jpg(),
            f"{base}/annotations/{folder}/{name}.png": buffer.getvalue(),
        }
    release = Release({"zip": archive(site, "a.zip", zipped(files), inside=base, counts={"images/training/*.jpg": 1})})
    release.prepare(tmp_path / "ade", tmp_path / "downloads")
    data = ADE20K(str(tmp_path / "ade"), "val")
    assert data[0].label[0].tolist() == [0, 149, *[255] * 10]
    assert data.classes[:3] == ("wall", "screen/silver screen", "screen/CRT screen")
    assert len(set(data.classes)) == len(data.palette) == 150


def test_cityscapes_by_hand(tmp_path):
    """Without the files, the message says what to do; with them, they are unpacked and read as train ids."""
    zips = {
        "leftImg8bit": {"leftImg8bit/val/bonn/bonn_1_leftImg8bit.png": png((1, 2, 3), "RGB"), "license.txt": b"terms"},
        "gtFine": {},
    }
    label = np.zeros(SIZE[::-1], np.uint8)
    label[0, :6] = 7, 33, 6, 24, 255, 29  # road, bicycle, ground, person, licence plate, caravan
    buffer = io.BytesIO()
    Image.fromarray(label).save(buffer, "PNG")
    zips["gtFine"]["gtFine/val/bonn/bonn_1_gtFine_labelIds.png"] = buffer.getvalue()
    release = Release(
        {name: Archive(f"{name}_trainvaltest.zip", PAGE, {f"{name}/val/*/*.png": 1}, only=f"{name}/*") for name in zips}
    )
    downloads, root = tmp_path / "downloads", tmp_path / "cityscapes"
    with pytest.raises(UserError, match=rf"leftImg8bit_trainvaltest\.zip: .*login\. Get it from {PAGE}, put it at "):
        release.prepare(root, downloads)
    for name, files in zips.items():
        (downloads / f"{name}_trainvaltest.zip").write_bytes(zipped(files))
    release.prepare(root, downloads)
    assert not (root / "license.txt").exists()
    data = Cityscapes(str(root), "val")
    assert data[0].label[0].tolist() == [0, 18, 255, 11, 255, 255, *[255] * 6]
    assert (data.classes[11], data.classes[18], len(data.classes)) == ("person", "bicycle", 19)


def test_an_evil_archive_writes_nothing(site, tmp_path):
    evil = tar({"VOCdevkit/VOC2012/JPEGImages/a.jpg": jpg(), "VOCdevkit/VOC2012/../../../evil.txt": b"evil"})
    release = Release({"devkit": archive(site, "e.tar", evil, inside="VOCdevkit/VOC2012", counts={"*.jpg": 1})})
    with pytest.raises(UserError, match="nothing was unpacked, do not trust"):
        release.prepare(tmp_path / "x/y/z", tmp_path / "downloads")
    assert not any(path.suffix in (".jpg", ".txt") for path in tmp_path.rglob("*"))
