"""prepare from=PATH as a user meets it: in a folder of their own, with the package as it would be installed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.commands import run_command
from tests.data.convert.pictures import write_image, write_json
from tests.data.convert.test_coco import annotation, export, square


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to work in, with an export of ten images."""
    (tmp_path / "conf").mkdir()
    annotations = [annotation(i, square(i, i, 9), (1, 7)[i % 2], i) for i in range(1, 11)]
    export(tmp_path / "export", annotations, 10)
    return tmp_path


def prepare(folder: Path, *arguments: str, command: str = "prepare") -> subprocess.CompletedProcess[str]:
    """Run the command in the folder, and let it write to ./conf, as the installed package does."""
    environment = {"COLUMNS": "120", "DEEPLAB_DATA": "data"}  # not the folder of real data
    return run_command(command, *arguments, folder=folder, environment=environment, before=use_own_conf)


def use_own_conf() -> None:
    """Make this process an installed package's, as far as the place of YAML goes."""
    import src.cli.conf_folder

    src.cli.conf_folder.INSTALLED = True
    src.cli.conf_folder.USER_CONF = Path.cwd() / "conf"


def everything(folder: Path) -> set[str]:
    """Return the paths in the folder, but for the records of commands."""
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    return {path for path in paths if not path.startswith("logs")}


def test_an_import_can_be_trained_on_at_once(folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / "export").rglob("*") if path.is_file()}
    done = prepare(folder, "from=export", "name=mine")
    assert done.returncode == 0, done.stderr
    assert "recognised COCO JSON: annotations/instances_default.json" in done.stdout
    assert "3 classes: background, cat, dog" in done.stdout
    assert "train: 8 samples, 8 good, 40x30 pixels" in done.stdout
    assert "no validation images: 2 of 10 were chosen, the same ones each time" in done.stdout
    assert {path: path.read_bytes() for path in (folder / "export").rglob("*") if path.is_file()} == before
    content = yaml.safe_load((folder / "conf/dataset/mine.yaml").read_text())
    assert content["classes"] == ["background", "cat", "dog"]
    assert content["root"] == "${paths.data_dir}/mine"
    mask = np.array(Image.open(folder / "data/mine/masks/4.png"))
    assert (mask == 1).sum() == 81
    assert not [path for path in everything(folder) if "part" in path]

    checked = prepare(folder, "dataset=mine", "verify=true")
    assert checked.returncode == 0, checked.stderr
    assert "train: 8 samples, 8 good, 40x30 pixels" in checked.stdout
    options = ["debug=fast", "backbone.width=0.02", "trainer.accelerator=cpu", "crf=none", "data.num_workers=0"]
    assert (folder / "data/mine/contact_sheet.png").is_file()
    fingerprint = json.loads((folder / "data/mine/fingerprint.json").read_text())
    assert fingerprint["splits"]["train"]["samples"] == 8
    assert "pixels in parts thinner than 8 pixels, which the scores may miss: " in done.stdout
    trained = prepare(folder, "experiment=mine", *options, "augmentation.crop_size=33", command="train")
    assert trained.returncode == 0, trained.stderr


def test_nothing_is_overwritten_and_nothing_half_made(folder: Path) -> None:
    assert prepare(folder, "from=export", "name=mine").returncode == 0
    before = everything(folder)
    again = prepare(folder, "from=export", "name=mine")
    assert again.returncode == 2
    assert again.stderr == "error: name=mine: data/mine already exists; choose another name, or remove it\n"
    (folder / "data/mine").rename(folder / "data/other")
    assert "conf/dataset/mine.yaml already exists" in prepare(folder, "from=export", "name=mine").stderr
    (folder / "data/other").rename(folder / "data/mine")
    assert everything(folder) == before


def test_faults_are_listed_and_left_out_only_if_asked(folder: Path) -> None:
    (folder / "export/images/default/3.jpg").write_bytes(b"no image")
    (folder / "export/images/default/5.jpg").unlink()
    before = everything(folder)
    refused = prepare(folder, "from=export", "name=mine")
    assert refused.returncode == 2
    assert "images/default/3.jpg: not an image that Pillow can read" in refused.stdout
    assert "image 5: its image 5.jpg is missing" in refused.stdout
    assert refused.stderr.startswith(
        "error: 2 faults, listed above; nothing was written; on_error=skip continues with 8 of"
    )
    assert everything(folder) - before <= {"data"}
    skipped = prepare(folder, "from=export", "name=mine", "on_error=skip")
    assert skipped.returncode == 0, skipped.stderr
    assert len(list((folder / "data/mine/masks").iterdir())) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["from=export"], "from=export: needs name=NAME, the name of the data set for dataset=NAME"),
        (["name=mine"], "name=mine: is for a data set that from=PATH creates; give from=PATH too"),
        (["from=lost", "name=mine"], "from=lost: no such file or folder; give the folder or archive of the labels"),
        (["from=export", "name=mi/ne"], "name=mi/ne: give letters, digits, _ and - for dataset=NAME, a letter first"),
        (["from=export", "name=none"], "name=none: give letters"),
        (["from=export", "name=shapes"], "shapes.yaml already exists; choose another name"),
        (["from=export", "name=mine", "format=mat"], "format=mat: must be one of coco"),
        (["from=export", "name=mine", "unlabelled=no"], "unlabelled"),
        (["from=export", "name=mine", "on_error=stop"], "on_error=stop: must be raise or skip"),
        (["from=export", "name=mine", "val_share=1"], "val_share=1: must lie between 0 and 1"),
        (["from=export", "images_from=lost", "name=mine"], "images_from=lost: no such file or folder; give"),
        (["from=logs", "name=mine"], "from=logs: no labels found; looked for a JSON file with"),
    ],
)
def test_wrong_arguments(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "logs").mkdir()
    before = everything(folder)
    done = prepare(folder, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert everything(folder) - before <= {"data"}


def test_archives_are_unpacked_and_removed(folder: Path) -> None:
    import shutil

    shutil.make_archive(str(folder / "export"), "zip", folder / "export")
    before = everything(folder)
    done = prepare(folder, "from=export.zip", "name=mine", "workers=0")
    assert done.returncode == 0, done.stderr
    added = {path for path in everything(folder) - before if "/mine/" not in path}
    yaml_files = {f"conf/{group}{name}" for group in ("dataset", "experiment") for name in ("", "/mine.yaml")}
    assert added == {"data", "data/mine", *yaml_files}


def test_an_archive_that_leaves_its_folder_is_refused(folder: Path) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "evil.zip", "w") as archive:
        archive.writestr("../evil.json", "{}")
    done = prepare(folder, "from=evil.zip", "name=mine")
    assert done.returncode == 2
    assert "nothing was unpacked, do not trust this file" in done.stderr
    assert not (folder / "data/evil.json").exists()


def test_labels_without_images(folder: Path) -> None:
    (folder / "export/images").rename(folder / "photos")
    alone = prepare(folder, "from=export/annotations/instances_default.json", "name=mine")
    assert alone.returncode == 2
    assert alone.stdout.count("is missing; set images_from=FOLDER to the folder of the images") == 10
    assert "none of the images that it names exists" in alone.stderr
    done = prepare(folder, "from=export/annotations/instances_default.json", "name=mine", "images_from=photos")
    assert done.returncode == 0, done.stderr


def test_a_class_with_an_odd_name_is_read_back(folder: Path) -> None:
    names = ["null", "12", "a, b: [c] #d", "ünïcode", 'it\'s "quoted"']
    write_image(folder / "odd/1.png", 40, 30)
    write_image(folder / "odd/2.png", 40, 30)
    content = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in (1, 2)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [annotation(i, square(5 * i, 0, 4), i, j) for i in range(len(names)) for j in (1, 2)],
    }
    write_json(folder / "odd/labels.json", content)
    done = prepare(folder, "from=odd", "name=odd")
    assert done.returncode == 0, done.stderr
    checked = prepare(folder, "dataset=odd", "verify=true")
    assert checked.returncode == 0, checked.stderr + checked.stdout
    assert yaml.safe_load((folder / "conf/dataset/odd.yaml").read_text())["classes"] == ["background", *names]
