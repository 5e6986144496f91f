"""COCO JSON as COCO, CVAT and Roboflow write it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from src.data import DatasetError
from src.data.convert import Conversion, FaultyLabels
from tests.data.convert.pictures import masks_of, run, write_image, write_json


def square(x: int, y: int, side: int) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def annotation(id_: int, segmentation: Any, category: int = 1, image: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": id_, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0, **more}


def export(root: Path, annotations: list[dict[str, Any]], count: int = 2, **more: Any) -> Path:
    """Write images/N.jpg of 40 x 30 pixels and instances_default.json, as CVAT does."""
    for index in range(1, count + 1):
        write_image(root / "images" / "default" / f"{index}.jpg", 40, 30)
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 40, "height": 30} for i in range(1, count + 1)],
        "categories": [{"id": 1, "name": "cat", "supercategory": ""}, {"id": 7, "name": "dog", "supercategory": ""}],
        "annotations": annotations,
        **more,
    }
    write_json(root / "annotations" / "instances_default.json", content)
    return root


def labels_of(tmp_path: Path, *annotations: dict[str, Any], **options: Any) -> np.ndarray:
    """Convert an export of these annotations; return the mask of image 1."""
    conversion = run(export(tmp_path / "export", list(annotations)), tmp_path / "out", **options)
    assert conversion.faults == []
    return masks_of(tmp_path / "out")["1"]


def test_classes_splits_and_pixels(tmp_path: Path) -> None:
    root = export(tmp_path / "export", [annotation(1, square(2, 3, 5)), annotation(2, square(20, 10, 4), 7, 2)])
    conversion = run(root, tmp_path / "out")
    assert (conversion.title, conversion.evidence) == ("COCO JSON", "annotations/instances_default.json")
    assert conversion.classes == ("background", "cat", "dog")
    assert sorted(conversion.splits["train"] + conversion.splits["val"]) == ["1", "2"]
    first, second = np.zeros((2, 30, 40), np.uint8)
    first[3:8, 2:7], second[10:14, 20:24] = 1, 2
    masks = masks_of(tmp_path / "out")
    assert (masks["1"] == first).all()
    assert (masks["2"] == second).all()
    assert (tmp_path / "out/images/1.jpg").read_bytes() == (root / "images/default/1.jpg").read_bytes()


def test_a_smaller_object_lies_on_a_larger_one_in_any_order(tmp_path: Path) -> None:
    large, small = annotation(1, square(0, 0, 20)), annotation(2, square(5, 5, 5), 7)
    for name, order in {"a": (large, small), "b": (small, large)}.items():
        label = labels_of(tmp_path / name, *order)
        assert np.bincount(label.ravel()).tolist() == [1200 - 400, 400 - 25, 25]


def test_crowds_and_ignored_objects_are_void_below_all_others(tmp_path: Path) -> None:
    crowd = np.zeros((30, 40), np.uint8)
    crowd[:10, :10] = 1
    runs = coco_masks.encode(np.asfortranarray(crowd))
    counts = [0, *[10, 20] * 9, 10, 20 + 30 * 30]  # down the columns
    label = labels_of(
        tmp_path,
        annotation(1, {"size": [30, 40], "counts": counts}, iscrowd=1),
        annotation(2, square(0, 0, 20)),
        annotation(3, {"size": [30, 40], "counts": runs["counts"].decode()}, 7, image=2, ignore=1),
    )
    assert np.bincount(label.ravel()).tolist() == [800, 400]
    other = masks_of(tmp_path / "out")["2"]
    assert (other == np.where(crowd, 255, 0)).all()


def test_unlabelled_pixels_may_be_void(tmp_path: Path) -> None:
    label = labels_of(tmp_path, annotation(1, square(0, 0, 10)), unlabelled="void")
    assert np.unique(label).tolist() == [0, 255]
    assert (label == 0).sum() == 100


def test_the_heading_that_roboflow_adds_is_no_class(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write_image(tmp_path / "export" / split / "a_jpg.rf.1234.jpg", 40, 30)
        content = {
            "info": {"description": "Exported from roboflow.com"},
            "categories": [
                {"id": 0, "name": "pets-cats", "supercategory": "none"},
                {"id": 1, "name": "cat", "supercategory": "pets-cats"},
                {"id": 2, "name": "dog", "supercategory": "pets-cats"},
            ],
            "images": [{"id": 0, "license": 1, "file_name": "a_jpg.rf.1234.jpg", "height": 30, "width": 40}],
            "annotations": [annotation(0, square(0, 0, 3), 2, 0)],
        }
        write_json(tmp_path / "export" / split / "_annotations.coco.json", content)
    conversion = run(tmp_path / "export", tmp_path / "out")
    assert conversion.classes == ("background", "cat", "dog")
    assert conversion.splits == {
        split: [f"{name}/a_jpg.rf.1234"] for split, name in (("train", "train"), ("val", "valid"), ("test", "test"))
    }
    assert (masks_of(tmp_path / "out")["valid/a_jpg.rf.1234"] == 2).sum() == 9


def test_labels_of_the_image_before_its_orientation_turns_it(tmp_path: Path) -> None:
    """Sides are 40x30 as stored and 30x40 upright, and a tool may have seen either."""
    for name, (width, height), (x, y) in (("stored", (40, 30), (0, 0)), ("upright", (30, 40), (25, 0))):
        root = export(tmp_path / name, [annotation(1, square(x, y, 5))])
        write_image(root / "images/default/1.jpg", 40, 30, orientation=6)  # to turn by 90 degrees clockwise
        content = {
            "images": [
                {"id": 1, "file_name": "1.jpg", "width": width, "height": height},
                {"id": 2, "file_name": "2.jpg", "width": 40, "height": 30},
            ],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [annotation(1, square(x, y, 5))],
        }
        write_json(root / "annotations/instances_default.json", content)
        run(root, tmp_path / f"out_{name}")
        label = masks_of(tmp_path / f"out_{name}")["1"]
        assert label.shape == (40, 30)
        assert np.argwhere(label).min(0).tolist() == [0, 25]  # the stored top left is the upright top right


def faults_of(tmp_path: Path, *annotations: dict[str, Any], **more: Any) -> list[str]:
    """Return the faults of an export whose image 2 is good."""
    root = export(tmp_path / "export", [*annotations, annotation(99, square(0, 0, 9), image=2)], 3, **more)
    conversion = run(root, tmp_path / "out")
    assert "2" in masks_of(tmp_path / "out")
    return conversion.faults


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (annotation(5, [[1, 1, 4, 4]]), "annotation 5 of 1.jpg: its polygon has 2 corners, and needs 3"),
        (annotation(5, [[1, 1, 4, 4, 3]]), "annotation 5 of 1.jpg: its outline is not a list of pairs x, y"),
        (annotation(5, [[1, 1, 4, 4, 3, None]]), "contains a number that is not finite"),
        (annotation(5, [[1, 1, 4, 4, 3, "a"]]), "contains something other than numbers"),
        (annotation(5, []), "has no outline, perhaps only a box"),
        (annotation(5, None), "has no outline"),
        (
            annotation(5, square(0, 0, 4), category=3),
            "annotation 5 of 1.jpg: belongs to category 3, which is not listed",
        ),
        (annotation(5, square(0, 0, 4), image=9), "annotation 5: belongs to image 9, which is not listed"),
        (annotation(5, {"size": [30, 40], "counts": [1, 2]}), "do not add up to 40x30 pixels"),
        (annotation(5, {"size": [30, 40], "counts": [-1, 1201]}), "do not add up to 40x30 pixels"),
        (annotation(5, {"size": [30, 40], "counts": "a b"}), "its run lengths are broken (' ' cannot occur"),
        (annotation(5, {"size": [3, 4], "counts": [12]}), "its mask is 4x3, its image 40x30"),
        (annotation(5, {"size": "x", "counts": [12]}), "have the size x, which must be [height, width]"),
    ],
)
def test_a_faulty_annotation_is_named(tmp_path: Path, broken: dict[str, Any], reason: str) -> None:
    faults = faults_of(tmp_path, broken)
    assert len(faults) == 1
    assert faults[0].startswith("annotations/instances_default.json: annotation 5")
    assert reason in faults[0]
    # Nothing is made of an image with a faulty annotation.
    assert ("1" in masks_of(tmp_path / "out")) == ("image 9" in reason)


def test_faulty_images_are_named(tmp_path: Path) -> None:
    images = [
        {"id": 0, "file_name": "4.jpg"},
        {"id": 1, "file_name": "1.jpg", "width": 80, "height": 60},
        {"id": 2, "file_name": "2.jpg", "width": 40, "height": 30},
        {"id": 3, "file_name": "../../lost.jpg", "width": 40, "height": 30},
        {"id": 4, "width": 40, "height": 30},
        {"id": 2, "file_name": "3.jpg", "width": 40, "height": 30},
    ]
    root = export(tmp_path / "export", [annotation(99, square(0, 0, 9), image=2)], 4, images=images)
    (root / "annotations/instances_torn.json").write_text('{"images": [{"file_name": "1.jpg"')
    write_image(tmp_path / "lost.jpg", 40, 30)  # outside of the export: not to be found
    conversion = run(root, tmp_path / "out")
    assert conversion.faults == [
        "annotations/instances_torn.json: broken JSON (Expecting ',' delimiter, line 1); export it again",
        "annotations/instances_default.json: image 3: its image ../../lost.jpg is missing; set "
        "images_from=FOLDER to the folder of the images",
        "annotations/instances_default.json: image 4: names no image",
        "annotations/instances_default.json: image 2: the id occurs twice",
        "images/default/1.jpg: the labels are for 80x60 pixels, the image has 40x30; use the image that was labelled",
    ]


def test_images_elsewhere_and_names_that_need_care(tmp_path: Path) -> None:
    names = ["a b.jpg", "night\\c#1.jpg", "night/é.PNG", "#d.jpg", "e.f.jpg"]
    for name in names:
        write_image(tmp_path / "photos" / name.replace("\\", "/"), 40, 30)
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": 0, "name": "cat"}],
        "annotations": [annotation(i, square(0, 0, 3), 0, i) for i in range(len(names))],
    }
    path = write_json(tmp_path / "labels.json", content)
    conversion = run(path, tmp_path / "out", images=tmp_path / "photos")
    assert conversion.faults == []
    assert set(masks_of(tmp_path / "out")) == {"a b", "night/c_1", "night/é", "_d", "e.f"}


def test_an_image_in_two_splits_is_a_fault(tmp_path: Path) -> None:
    root = export(tmp_path / "export", [annotation(1, square(0, 0, 3))], 3)
    path = root / "annotations/instances_default.json"
    path.rename(path.with_name("instances_train.json"))
    export(root, [], 1)
    path.rename(path.with_name("instances_val.json"))
    conversion = run(root, tmp_path / "out")
    assert conversion.faults == [
        "annotations/instances_val.json: 1.jpg is in train and in val; an image belongs to one split"
    ]


def test_nothing_recognised(tmp_path: Path) -> None:
    write_json(tmp_path / "export/some.json", {"images": []})
    with pytest.raises(DatasetError, match=r"export: no labels found; looked for a JSON file with images, annotations"):
        run(tmp_path / "export", tmp_path / "out")


def test_panoptic_labels_are_refused(tmp_path: Path) -> None:
    root = export(tmp_path / "export", [{"image_id": 1, "segments_info": []}])
    with pytest.raises(FaultyLabels) as refused:
        run(root, tmp_path / "out")
    assert "has panoptic labels" in refused.value.faults[0]


def kept(conversion: Conversion) -> list[str]:
    return [note for note in conversion.notes if "without a label" in note or "no labels" in note]


def test_images_without_annotations_are_kept_as_background(tmp_path: Path) -> None:
    conversion = run(export(tmp_path / "export", [annotation(1, square(0, 0, 3))], 5), tmp_path / "out")
    assert kept(conversion) == ["pixels without a label: background", "4 images have no labels, and are kept"]
    assert not masks_of(tmp_path / "out")["5"].any()


def test_relative_labels_of_absolute_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = export(tmp_path / "export", [annotation(1, square(0, 0, 20))])
    (root / "images/default").rename(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    source = Path("export/annotations/instances_default.json")
    conversion = run(source, tmp_path / "out", images=tmp_path / "photos")
    assert conversion.faults == []
    assert (masks_of(tmp_path / "out")["1"] == 1).sum() == 400
