"""The prepare command as a user meets it."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import run_command
from tests.data.release.test_release import png, tar
from tests.server import serving


def run(folder: Path, *arguments: str, command: str = "prepare") -> subprocess.CompletedProcess[str]:
    return run_command(command, *arguments, f"paths.log_dir={folder / 'logs'}", environment={"COLUMNS": "120"})


@pytest.fixture
def folder(tmp_path):
    """Return ten pairs: class 0 on the left half, class 1 on the right, one void pixel in the corner."""
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    label = np.zeros((10, 20), np.uint8)
    label[:, 10:] = 1
    label[0, 0] = 255
    for index in range(10):
        Image.new("RGB", (20, 10)).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(label).save(tmp_path / "masks" / f"{index}.png")
    return tmp_path


def options(folder: Path) -> list[str]:
    return ["dataset=folder", f"dataset.root={folder}", "dataset.classes=[ground,thing]"]


def test_verify_counts_pixels(folder):
    done = run(folder, *options(folder), "verify=true")
    assert done.returncode == 0, done.stderr
    rows = [" ".join(line.replace("│", " ").split()) for line in done.stdout.splitlines()]
    assert "train: 8 samples, 8 good, 20x10 pixels" in rows
    for row in ("ground 792 49.50 8", "thing 800 50.00 8", "void 8 0.50 8"):  # 8 images of 200 pixels
        assert row in rows
    for row in ("ground 198 49.50 2", "thing 200 50.00 2", "void 2 0.50 2"):
        assert row in rows


def test_verify_lists_every_fault_and_exits_with_an_error(folder):
    for index in range(10):
        Image.new("L", (20, 10), 70 + index).save(folder / "masks" / f"{index}.png")
    (folder / "masks/stray.png").write_bytes(png(0))
    (folder / "train.txt").write_text("\n".join(map(str, range(9))))
    (folder / "val.txt").write_text("8\n9\n" + "".join(f"lost{index}\n" for index in range(12)))
    done = run(folder, *options(folder), "verify=true", "workers=2")
    assert done.returncode == 2
    for index in range(10):
        assert f"{index}.png: labels [{70 + index}] are neither" in done.stdout
        assert "(255); dataset.void=VALUE ignores a value; dataset.values=[...] sets" in done.stdout
    assert "stray.png: no image of this name" in done.stdout
    assert "val.txt, line 14: lost11 is not in" in done.stdout
    assert "warning: 1 image is in train and in val, such as" in done.stdout
    assert "error: 23 faults, listed above; 11 of 11 samples cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_reports_what_training_would_refuse(folder):
    """Masks of 0 and 255, as most programs write binary masks."""
    for index in range(10):
        Image.fromarray(np.uint8([[0, 255]]).repeat(10, 0).repeat(10, 1)).save(folder / "masks" / f"{index}.png")
    done = run(folder, *options(folder), "verify=true")
    assert done.returncode == 2
    assert "warning: train: no pixel of thing: a class that does not occur cannot be learned" in done.stdout
    assert "if it is class 1, say so: 'dataset.values=[0,255]'" in done.stdout
    assert done.stderr == "error: 1 fault, listed above; 0 of 10 samples cannot be used\n"
    refused = run(folder, *options(folder), "trainer.max_steps=1", "trainer.accelerator=cpu", command="train")
    assert refused.returncode == 2
    assert refused.stderr.strip().removeprefix("error: ") in done.stdout
    assert run(folder, *options(folder), "verify=true", "dataset.values=[0,255]").returncode == 0


def test_training_refers_to_verify_and_skips_with_on_error_skip(folder):
    for index in range(5):
        Image.new("L", (20, 10), 70 + index).save(folder / "masks" / f"{index}.png")
    small = ["backbone.width=0.0625", "debug=fast", "logger=none", "data.batch_size=2", "trainer.accelerator=cpu"]
    small += ["augmentation.crop_size=33", "crf=none"]
    done = run(folder, *options(folder), *small, command="train")
    assert done.returncode == 2
    assert "labels [7" in done.stderr
    done = run(folder, *options(folder), *small, "dataset.on_error=skip", command="train")
    assert done.returncode == 0, done.stderr
    assert "samples;" in done.stdout
    assert "skipped" in done.stdout


def test_a_mirror_in_a_local_folder(tmp_path):
    """A release is fetched from it, with one interruption, unpacked and checked; a second call has nothing to do."""
    names = ("train", "trainannot", "val", "valannot")
    files = {
        f"top/{name}/{i}.png": png(i, "RGB" if name in ("train", "val") else "L") for name in names for i in (0, 1)
    }
    (tmp_path / "conf/release").mkdir(parents=True)
    with serving() as site:
        site.files["/mini.tar"] = tar(files)
        (tmp_path / "conf/release/mini.yaml").write_text(
            "_target_: src.data.release.release.Release\n"
            "parts:\n"
            "  mini:\n"
            "    _target_: src.data.release.release.Archive\n"
            "    name: mini.tar\n"
            f"    page: {site.url}\n"
            f"    urls: ['{site.url}/dead.tar', '{site.url}/mini.tar']\n"
            "    inside: top\n"
            "    counts: {train/*.png: 2, valannot/*.png: 2}\n"
        )
        arguments = [
            "--config-dir", str(tmp_path / "conf"), "dataset=camvid", "release=mini",
            f"dataset.root={tmp_path / 'camvid'}", f"downloads={tmp_path / 'downloads'}",
        ]  # fmt: skip
        done = run(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        assert "404" in done.stdout
        assert "8 files unpacked" in done.stdout
        asked = len(site.asked)
        done = run(tmp_path, *arguments)
        assert "mini: already complete" in done.stdout
        assert len(site.asked) == asked
    assert run(tmp_path, "dataset=camvid", f"dataset.root={tmp_path / 'camvid'}", "verify=true").returncode == 0


def test_a_data_set_without_release_is_reported(tmp_path):
    done = run(tmp_path, "dataset=folder")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: dataset=NAME is needed: a data set with a known release, which --help lists; verify=true"
    )
    assert len(done.stderr.splitlines()) == 1
