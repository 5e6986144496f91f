"""labelme's JSON, as labelme 5 writes it."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.convert.pictures import masks_of, run, write_image, write_json


def shape(label: str, points: Any, type_: str = "polygon", **more: Any) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": type_,
        "flags": {},
        **more,
    }


def content(name: str, *shapes: dict[str, Any], width: int = 40, height: int = 30, data: Any = None) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": name,
        "imageData": data,
        "imageHeight": height,
        "imageWidth": width,
    }


def export(root: Path, *shapes: dict[str, Any]) -> Path:
    """Write a.jpg with these shapes and b.jpg with a square, each of 40 x 30 pixels with its JSON."""
    for name, own in (("a", shapes), ("b", (shape("cat", [[0, 0], [5, 0], [5, 5], [0, 5]]),))):
        write_image(root / f"{name}.jpg", 40, 30)
        write_json(root / f"{name}.json", content(f"{name}.jpg", *own))
    return root


def png(mask: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def test_later_shapes_cover_earlier_ones(tmp_path: Path) -> None:
    small, large = shape("dog", [[2, 2], [6, 2], [6, 6], [2, 6]]), shape("cat", [[0, 0], [20, 10]], "rectangle")
    conversion = run(export(tmp_path / "export", small, large, small), tmp_path / "out")
    assert (conversion.title, conversion.evidence) == ("labelme JSON", "a.json")
    assert conversion.classes == ("background", "cat", "dog")
    assert np.bincount(masks_of(tmp_path / "out")["a"].ravel()).tolist() == [1000, 200 - 16, 16]
    run(export(tmp_path / "other", small, large), tmp_path / "other_out")
    assert np.bincount(masks_of(tmp_path / "other_out")["a"].ravel()).tolist() == [1000, 200]


def test_every_type_of_shape(tmp_path: Path) -> None:
    bits = np.zeros((3, 4), bool)
    bits[1, 1:3] = True
    shapes = [
        shape("circle", [[20, 15], [20, 5]], "circle"),
        shape("mask", [[1, 2], [4, 4]], "mask", mask=png(bits)),
        shape("turned", [[32, 22], [38, 22], [38, 28], [32, 28]], "rectangle"),
        shape("line", [[0, 0], [9, 9]], "line"),
        shape("point", [[0, 0]], "point"),
    ]
    conversion = run(export(tmp_path / "export", *shapes), tmp_path / "out")
    assert conversion.faults == []
    assert "1 shape of the type line skipped: without area" in conversion.notes
    label = masks_of(tmp_path / "out")["a"]
    index = {name: i for i, name in enumerate(conversion.classes)}
    assert (label == index["circle"]).sum() == pytest.approx(np.pi * 100, rel=0.02)
    assert np.argwhere(label == index["mask"]).tolist() == [[3, 2], [3, 3]]
    assert (label == index["turned"]).sum() == 36
    assert label[0, 0] == 0


def test_the_list_of_labels_gives_the_order_and_names_that_do_not_count(tmp_path: Path) -> None:
    root = export(
        tmp_path / "export",
        shape("zebra", [[0, 0], [4, 4]], "rectangle"),
        shape("__ignore__", [[10, 10], [14, 14]], "rectangle"),
        shape("_background_", [[0, 0], [2, 2]], "rectangle"),
    )
    (root / "labels.txt").write_text("__ignore__\n_background_\nzebra\ncat\n")
    conversion = run(root, tmp_path / "out")
    assert conversion.classes == ("background", "zebra", "cat")
    label = masks_of(tmp_path / "out")["a"]
    assert [(label == value).sum() for value in (1, 255)] == [16 - 4, 16]


def test_an_image_that_only_the_json_holds(tmp_path: Path) -> None:
    root = export(tmp_path / "export", shape("cat", [[0, 0], [4, 4]], "rectangle"))
    data = (root / "a.jpg").read_bytes()
    (root / "a.jpg").unlink()
    write_json(
        root / "a.json",
        content("..\\photos\\a.jpg", shape("cat", [[0, 0], [4, 4]], "rectangle"), data=base64.b64encode(data).decode()),
    )
    conversion = run(root, tmp_path / "out")
    assert conversion.faults == []
    (image,) = (tmp_path / "out/images").rglob("*a.jpg")
    assert image.read_bytes() == data
    assert sorted((tmp_path / "export").iterdir()) == [root / name for name in ("a.json", "b.jpg", "b.json")]


def test_a_turned_photo(tmp_path: Path) -> None:
    """labelme shows it upright, and stores the sides that it has then."""
    root = export(tmp_path / "export")
    write_image(root / "a.jpg", 40, 30, orientation=8)
    write_json(root / "a.json", content("a.jpg", shape("cat", [[0, 30], [10, 40]], "rectangle"), width=30, height=40))
    assert run(root, tmp_path / "out").faults == []
    label = masks_of(tmp_path / "out")["a"]
    assert label.shape == (40, 30)
    assert np.argwhere(label).min(0).tolist() == [30, 0]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (shape("cat", [[0, 0], [4, 4]]), "shape 1: its polygon has 2 corners, and needs 3"),
        (shape("cat", [[0, 0], [4, 4], [5, 5]], "circle"), "shape 1: a circle has 2 points, this one 3"),
        (shape("cat", [[0, 0], [4, 4]], "blob"), "shape 1: has the unknown type blob"),
        (shape("cat", [[0, "x"], [4, 4]], "circle"), "shape 1: its outline contains something other than numbers"),
        (shape("cat", None), "shape 1: has no points"),
        (shape("cat", [[0, 0], [4, 4]], "mask", mask="?"), "shape 1: its mask is not a PNG in base64"),
        (shape("", [[0, 0], [4, 4]], "rectangle"), "shape 1: has no label"),
        ({}, "shape 1: has no label"),
    ],
)
def test_a_faulty_shape_is_named(tmp_path: Path, broken: dict[str, Any], reason: str) -> None:
    root = export(tmp_path / "export", broken)
    export(root / "more")
    conversion = run(root, tmp_path / "out")
    assert conversion.faults == [f"a.json: {reason}"]
    assert set(masks_of(tmp_path / "out")) == {"b", "more/a", "more/b"}


def test_faulty_files_are_named(tmp_path: Path) -> None:
    root = export(tmp_path / "export")
    (root / "torn.json").write_text('{"shapes": [')
    write_json(root / "other.json", [1])
    write_json(root / "lost.json", content("lost.jpg"))
    write_json(root / "twisted.json", content("lost.jpg", data="no image"))
    assert run(root, tmp_path / "out").faults == [
        "other.json: has no list of shapes, as labelme's files have",
        "torn.json: broken JSON (Expecting value, line 1); export it again",
        "lost.json: its image lost.jpg is missing; set images_from=FOLDER to the folder of the images",
        "twisted.json: its embedded image cannot be read; export it again",
    ]
