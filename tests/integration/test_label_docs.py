"""The sections of docs/labels.md, followed literally: its commands make a data set of an export, and train on it."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPO
from tests.data.convert import test_coco, test_cvat, test_labelme, test_mask_readers, test_yolo
from tests.data.convert.pictures import write_image
from tests.integration.test_importing import prepare

PAGE = (REPO / "docs" / "labels.md").read_text()
QUICK = ["debug=fast", "backbone.width=0.02", "trainer.accelerator=cpu", "crf=none", "data.num_workers=0"]


def commands(heading: str) -> list[list[str]]:
    """Return the words of the commands in a section of the page."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


def archive(folder: Path, name: str) -> None:
    shutil.make_archive(str(folder.parent / name), "zip", folder)


def write_cvat(folder: Path) -> None:
    archive(test_cvat.export_masks(folder / "with"), "cvat")
    archive(test_cvat.export_masks(folder / "without", images=False), "cvat_without_images")
    shutil.copytree(folder / "with/JPEGImages", folder / "photos")
    xml = test_cvat.export(folder / "xml", test_cvat.box("cat", 0, 0, 20, 20)) / "annotations.xml"
    xml.rename(folder / "annotations.xml")


def write_labelme(folder: Path) -> None:
    test_labelme.export(folder / "labelme", test_labelme.shape("cat", [[0, 0], [20, 20]], "rectangle"))


def write_coco(folder: Path) -> None:
    root = test_coco.export(folder / "export", [test_coco.annotation(1, test_coco.square(0, 0, 20))])
    archive(root, "coco")
    (root / "images/default").rename(folder / "photos")
    (root / "annotations/instances_default.json").rename(folder / "instances.json")


def write_yolo(folder: Path) -> None:
    yaml = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['cat']\n"
    archive(test_yolo.write(folder / "export", test_yolo.ROBOFLOW, yaml), "roboflow")


def write_pairs(folder: Path) -> None:
    for name in ("a", "b"):
        write_image(folder / f"pairs/{name}.jpg", 40, 30)
        test_mask_readers.write_mask(folder / f"pairs/{name}_mask.png", test_mask_readers.LABEL)


SECTIONS: dict[str, Callable[[Path], None]] = {
    "From CVAT": write_cvat,
    "From labelme": write_labelme,
    "From COCO": write_coco,
    "From YOLO or Roboflow": write_yolo,
    "From images with masks": write_pairs,
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_section(tmp_path: Path, heading: str) -> None:
    (tmp_path / "conf").mkdir()
    SECTIONS[heading](tmp_path)
    lines = commands(heading)
    assert [line[1] for line in lines[:2]] == ["prepare", "train"]
    for program, name, *arguments in lines:
        assert program == "deeplab"
        quick = [*QUICK, "augmentation.crop_size=33"] if name == "train" else []
        done = prepare(tmp_path, *arguments, *quick, command=name)
        assert done.returncode == 0, done.stderr + done.stdout
    made = [argument.partition("=")[2] for line in lines for argument in line if argument.startswith("name=")]
    for name in made:
        labels = {
            int(v) for path in (tmp_path / "data" / name / "masks").rglob("*.png") for v in np.unique(Image.open(path))
        }
        assert 1 in labels


def test_every_section_is_followed() -> None:
    assert re.findall(r"^## (From .+)$", PAGE, re.MULTILINE) == list(SECTIONS)
