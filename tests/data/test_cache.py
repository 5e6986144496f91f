"""The cache of decoded samples: it returns equal samples, and is rebuilt when it is stale or damaged."""

import logging
import multiprocessing
import os
import pickle
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from src.data import DatasetError, Folder
from src.data.cache import pack as pack_module

CLASSES = ["ground", "thing"]


@pytest.fixture
def folder(tmp_path):
    """Return a folder of six pairs of different sizes."""
    rng = np.random.default_rng(0)
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    for index in range(6):
        height, width = 20 + index, 31 - index
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / f"images/{index}.png")
        Image.fromarray(rng.integers(0, 2, (height, width), np.uint8)).save(tmp_path / f"masks/{index}.png")
    (tmp_path / "train.txt").write_text("0\n1\n2\n3\n4\n5\n")
    (tmp_path / "val.txt").write_text("0\n")
    return tmp_path


def dataset(folder, **options):
    data = Folder(str(folder), "train", CLASSES, cache=str(folder / "cache"), **options)
    data.open_cache()
    return data


def packs(folder):
    return sorted(path for path in (folder / "cache").iterdir() if path.suffix != ".lock")


def assert_as_the_files(data, folder):
    for index in range(len(data)):
        sample = data[index]
        assert np.array_equal(sample.image, np.asarray(Image.open(folder / f"images/{sample.id}.png")))
        assert np.array_equal(sample.label, np.asarray(Image.open(folder / f"masks/{sample.id}.png")))


def test_cached_samples_are_equal_and_open_no_file(folder, monkeypatch):
    data = dataset(folder)
    assert_as_the_files(data, folder)
    monkeypatch.setattr("src.data.file_dataset.read_image", lambda _: pytest.fail("opened a file"))
    again = dataset(folder)
    assert_as_the_files(again, folder)
    assert_as_the_files(pickle.loads(pickle.dumps(again)), folder)  # noqa: S301
    assert len(pickle.dumps(again)) < 10_000  # as sent to a worker, without the pixels
    assert len(packs(folder)) == 1
    size = packs(folder)[0].stat().st_size
    assert size == sum(4 * (20 + i) * (31 - i) for i in range(6)) + 6 * 32 + pack_module.TRAILER.size


def test_a_changed_file_makes_the_cache_stale(folder, caplog):
    dataset(folder)
    Image.fromarray(np.zeros((25, 26, 3), np.uint8)).save(folder / "images/5.png")
    os.utime(folder / "images/5.png", ns=(0, time.time_ns() + 1))
    assert_as_the_files(dataset(folder), folder)
    assert "stale: the files have changed; rebuilding it" in caplog.text


def test_other_mask_values_make_the_cache_stale(folder):
    assert dataset(folder)[0].label.max() == 1
    assert dataset(folder, values=[1, 0])[0].label[0, 0] == 1 - dataset(folder)[0].label[0, 0]


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_truncated_cache_is_rebuilt(folder, keep, caplog):
    dataset(folder)
    content = packs(folder)[0].read_bytes()
    packs(folder)[0].write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    assert_as_the_files(dataset(folder), folder)
    assert "truncated" in caplog.text
    assert packs(folder)[0].read_bytes() == content


@pytest.mark.parametrize("where", [-60, -200])
def test_a_damaged_index_is_rebuilt(folder, where, caplog):
    dataset(folder)
    content = bytearray(packs(folder)[0].read_bytes())
    content[where] ^= 1
    packs(folder)[0].write_bytes(content)
    assert_as_the_files(dataset(folder), folder)
    assert "rebuilding it" in caplog.text


def test_a_damaged_sample_is_read_from_its_files(folder, caplog):
    content = bytearray(packs(folder)[0].read_bytes()) if dataset(folder) else bytearray()
    content[100] ^= 1
    packs(folder)[0].write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert_as_the_files(dataset(folder), folder)
    assert "sample 0 is damaged" in caplog.text


def test_bad_samples_are_all_named_and_leave_nothing_behind(folder):
    for index in (1, 4):
        (folder / f"images/{index}.png").write_text("no")
    with pytest.raises(DatasetError) as caught:
        dataset(folder)
    assert "images/1.png" in str(caught.value)
    assert "images/4.png" in str(caught.value)
    assert packs(folder) == []


def test_a_full_disk_names_the_key(folder, monkeypatch):
    monkeypatch.setattr(pack_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5}))
    with pytest.raises(DatasetError, match=r"^cache=.*cache: about .* GB are needed"):
        dataset(folder)
    assert packs(folder) == []


def test_a_folder_that_cannot_be_names_the_key(folder):
    (folder / "cache").write_text("a file")
    with pytest.raises(DatasetError, match=r"^cache=.*cache: File exists; choose another folder"):
        dataset(folder)


def build_in_a_process(folder, barrier, results):
    logging.disable(logging.NOTSET)
    built = []
    real = pack_module.append
    pack_module.append = lambda file, sample: built.append(sample.id) or real(file, sample)
    barrier.wait()
    data = dataset(folder)
    results.put((len(built), [int(data[i].image.sum()) for i in range(6)]))


def test_concurrent_processes_build_the_cache_once(folder):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=build_in_a_process, args=(folder, barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    given = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert Counter(built for built, _ in given) == {6: 1, 0: 3}
    expected = [int(np.asarray(Image.open(folder / f"images/{i}.png")).sum()) for i in range(6)]
    assert all(sums == expected for _, sums in given)
