"""YOLO segmentation as Ultralytics, Roboflow and CVAT write it."""

from pathlib import Path

import numpy as np
import pytest

from src.data import DatasetError
from src.data.convert import FaultyLabels
from tests.data.convert.pictures import masks_of, run, write_image

SQUARE = "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3"  # of 40 x 30 pixels: 8 x 6, from (4, 3)


def write(root: Path, images: dict[str, str | None], yaml: str) -> Path:
    """Write images of 40 x 30 pixels, their text files where they have one, and data.yaml."""
    for name, text in images.items():
        write_image(root / name, 40, 30)
        if text is not None:
            label = (root / name.replace("images", "labels")).with_suffix(".txt")
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(text)
    (root / "data.yaml").write_text(yaml)
    return root


ROBOFLOW = {"train/images/a.jpg": f"{SQUARE}\n", "valid/images/b.jpg": "", "test/images/c.jpg": None}


@pytest.mark.parametrize(
    "yaml",
    [
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"
        "roboflow:\n  workspace: mine\n",
        "path: /home/elsewhere/export\ntrain: train/images\nval: [valid/images]\ntest: test/images\n"
        "names:\n  0: cat\n  1: dog\n",
        "path: .\ntrain: mine-3/train/images\nval: mine-3/valid/images\ntest: C:\\data\\test\\images\n"
        "names: {0: cat, 1: dog}\n",
    ],
)
def test_the_layouts_of_data_yaml(tmp_path: Path, yaml: str) -> None:
    conversion = run(write(tmp_path / "export", ROBOFLOW, yaml), tmp_path / "out")
    assert conversion.faults == []
    assert (conversion.title, conversion.evidence) == ("YOLO segmentation", "data.yaml")
    assert conversion.classes == ("background", "cat", "dog")
    assert conversion.splits == {"train": ["train/images/a"], "val": ["valid/images/b"], "test": ["test/images/c"]}
    expected = np.zeros((30, 40), np.uint8)
    expected[3:9, 4:12] = 1
    assert (masks_of(tmp_path / "out")["train/images/a"] == expected).all()
    assert not masks_of(tmp_path / "out")["test/images/c"].any()


def test_lists_of_images_as_cvat_writes_them(tmp_path: Path) -> None:
    images = {"images/train/a.jpg": SQUARE, "images/train/b.jpg": SQUARE}
    root = write(tmp_path / "export", images, "names:\n  0: cat\npath: .\ntrain: train.txt\n")
    (root / "train.txt").write_text("data/images/train/a.jpg\ndata/images/train/b.jpg\n")
    conversion = run(root, tmp_path / "out")
    assert sorted(name for names in conversion.splits.values() for name in names) == ["a", "b"]
    assert masks_of(tmp_path / "out")["b"].sum() == 48


def test_each_image_of_a_list_that_is_missing_is_named(tmp_path: Path) -> None:
    images = {"images/train/a.jpg": SQUARE, "images/train/b.jpg": SQUARE}
    root = write(tmp_path / "export", images, "names:\n  0: cat\npath: .\ntrain: train.txt\n")
    (root / "train.txt").write_text("data/images/train/lost.jpg\na.jpg\n\nb.jpg\ngone.jpg\n")
    conversion = run(root, tmp_path / "out")
    remedy = "is missing; set images_from=FOLDER to the folder of the images"
    assert conversion.faults == [
        f"data.yaml: train: its image {name} {remedy}" for name in ("data/images/train/lost.jpg", "gone.jpg")
    ]
    assert set(masks_of(tmp_path / "out")) == {"a", "b"}


def test_a_smaller_object_lies_on_a_larger_one_and_an_outline_may_have_two_parts(tmp_path: Path) -> None:
    large = "1 0 0 1 0 1 1 0 1"
    parts = "0 .1 .1 .2 .1 .2 .2 .1 .2 .1 .1 .5 .5 .6 .5 .6 .6 .5 .6 .5 .5"  # joined as Ultralytics does
    root = write(
        tmp_path / "export",
        {"images/a.jpg": f"{parts}\n{large}", "images/b.jpg": large},
        "train: images\nnames: [cat, dog]",
    )
    run(root, tmp_path / "out")
    assert np.bincount(masks_of(tmp_path / "out")["a"].ravel()).tolist() == [0, 24, 1200 - 24]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.1 0.1 0.3 0.3", "a box instead of an outline; these are detection labels"),
        ("2 0.1 0.1 0.3 0.1 0.3 0.3", "class 2 is not in the list of names"),
        ("0.5 0.1 0.1 0.3 0.1 0.3 0.3", "class 0.5 is not in the list of names"),
        ("0 0.1 0.1 0.3 0.1", "a box instead of an outline; these are detection labels"),
        ("0 0.1 0.1", "2 coordinates; an outline needs x and y of at least 3 corners"),
        ("0 0.1 0.1 0.3 0.1 0.3 0.3 0.4", "7 coordinates; an outline needs x and y of at least 3 corners"),
        ("0 10 10 30 10 30 30", "coordinates must be fractions of the image's sides, 0 to 1"),
        ("0 nan 0.1 0.3 0.1 0.3 0.3", "coordinates must be fractions of the image's sides, 0 to 1"),
        ("cat 0.1 0.1 0.3 0.1 0.3 0.3", "contains something other than numbers"),
        ("", "contains something other than numbers"),
    ],
)
def test_a_faulty_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    images = {"images/a.jpg": f"{SQUARE}\n\n{line or ','}\n", "images/b.jpg": SQUARE, "images/c.jpg": SQUARE}
    root = write(tmp_path / "export", images, "train: images\nnames: [cat, dog]")
    assert run(root, tmp_path / "out").faults == [f"labels/a.txt, line 3: {reason}"]
    assert set(masks_of(tmp_path / "out")) == {"b", "c"}


def test_a_split_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    root = write(tmp_path / "export", ROBOFLOW, "train: ../train/images\nval: nowhere\nnames: [cat]")
    with pytest.raises(FaultyLabels) as refused:
        run(root, tmp_path / "out", on_error="raise")
    assert refused.value.faults == [
        "data.yaml: val: nowhere is missing; set images_from=FOLDER to the folder of the images"
    ]


def test_names_that_are_none(tmp_path: Path) -> None:
    root = write(tmp_path / "export", ROBOFLOW, "train: ../train/images\nnames: cat")
    with pytest.raises(DatasetError, match=r"data.yaml: names must be a list, or a mapping of numbers to names"):
        run(root, tmp_path / "out")
