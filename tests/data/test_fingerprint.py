"""The fingerprint of a data set, by hand arithmetic."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data import Folder
from src.data.fingerprint import count_thin, take_fingerprint


def rectangle(top: int, left: int, height: int, width: int) -> np.ndarray:
    label = np.zeros((40, 60), np.uint8)
    label[top : top + height, left : left + width] = 1
    return label


@pytest.mark.parametrize(
    ("label", "thin"),
    [
        (rectangle(10, 10, 8, 8), 0),
        (rectangle(10, 10, 7, 30), 210),
        (rectangle(10, 10, 30, 7), 210),
        (rectangle(10, 10, 8, 20) | rectangle(12, 30, 3, 20), 60),  # a block with a handle
        (rectangle(0, 0, 5, 5), 0),  # at the corner of the image, beyond which it may go on
        (rectangle(0, 10, 5, 7), 35),
    ],
)
def test_parts_into_which_no_square_of_8_pixels_fits(label: np.ndarray, thin: int) -> None:
    assert count_thin(label, 1) == thin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images for training and one for validation, which is a copy of the first."""
    labels = {"a": rectangle(0, 0, 20, 30), "b": rectangle(10, 10, 4, 25) * 2, "c": rectangle(0, 0, 10, 10)}
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    for name, label in labels.items():
        colour = (0, 0, 0) if name in "ac" else (9, 9, 9)
        Image.new("RGB", (60, 40), colour).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(label).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("c\n")
    return tmp_path


def test_a_fingerprint_by_hand(folder: Path) -> None:
    datasets = {split: Folder(str(folder), split, ["ground", "block", "pole", "ghost"]) for split in ("train", "val")}
    found = take_fingerprint(datasets, 0)
    assert found.surveys["train"].pixels[:4].tolist() == [4800 - 700, 600, 100, 0]
    assert found.shares().tolist() == [4100 / 4800, 600 / 4800, 100 / 4800, 0]
    assert found.thin[:3] == [0, 0, 1]
    assert np.isnan(found.thin[3])
    assert found.thin_share() == 100 / (600 + 100 + 100)  # of block and pole, in both splits
    assert found.sides().tolist() == [[60, 40]] * 3
    assert found.examples[:2] == [("train", 1), ("train", 0)]  # of the pole, then the block
    assert any(
        "1 image is in val and, with the same pixels, in train, such as c and a" in doubt for doubt in found.warnings
    )
    content = json.loads(json.dumps(found.as_json()))
    assert content["splits"]["train"]["images"] == {"ground": 2, "block": 1, "pole": 1, "ghost": 0}
    assert content["splits"]["val"]["sizes"] == {"60x40": 1}
    assert content["thin_share"] == {"ground": 0, "block": 0, "pole": 1, "ghost": None}
