"""Outlines of label maps, and the files of predict that labelling tools and spreadsheets read."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from src.data import CamVid, Shapes
from src.data.convert.regions import fill
from src.labels import LabelMap
from src.prediction.results.annotations import coco_annotations, labelme_content
from src.prediction.results.outlines import find_parts
from src.system.errors import UserError
from tests.checkpoints import write_checkpoint
from tests.data.convert.pictures import masks_of, write_image
from tests.data.convert.pictures import run as convert
from tests.prediction.test_predict import ckpt, pictures, run, stamps

__all__ = ["ckpt"]

CLASSES = ["background", "cat", "dog", "tree"]
SHAPES = {
    "a pixel": ["....", ".#..", "...."],
    "all": ["###", "###"],
    "at all edges": ["##.#", "#...", "...#", "#.##"],
    "diagonal": ["#..", ".#.", "..#"],
    "a hole": ["####", "#.##", "####"],
    "two holes that touch": ["#####", "#.###", "##.##", "#####"],
    "a hole that touches the outline": ["###.", "##.#", "####"],
    "a part in a hole": ["#####", "#...#", "#.#.#", "#...#", "#####"],
    "a row": ["......", ".####.", "......"],
    "a spiral": ["######", "#....#", "#.##.#", "#.#..#", "#.####", "#....."],
    "a comb": ["#.#.#.#", "#.#.#.#", "#######"],
}


def label_of(rows: list[str]) -> LabelMap:
    return np.array([[letter == "#" for letter in row] for row in rows], np.uint8)


def rasterised(label: LabelMap) -> LabelMap:
    """Return the label map that the outlines of another one enclose, as pycocotools draws it; 255 where nothing is."""
    drawn = np.full(label.shape, 255, np.uint8)
    for part in find_parts(label):
        rings = coco_masks.frPyObjects([polygon.ravel().tolist() for polygon in part.polygons], *label.shape)
        inside = coco_masks.decode(coco_masks.merge(rings)).astype(bool)
        assert (drawn[inside] == 255).all()  # parts do not overlap
        assert inside.sum() == part.area
        rows, columns = np.nonzero(inside)
        left, top, width, height = part.box
        assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (left, top, width, height)
        ours = sum(fill(polygon, *label.shape).astype(int) for polygon in part.polygons)
        assert (ours == inside).all()  # the rule of prepare, and no pixel in two polygons
        drawn[inside] = part.label
    return drawn


@pytest.mark.parametrize("name", SHAPES)
def test_outlines_enclose_exactly_the_pixels(name: str) -> None:
    label = label_of(SHAPES[name])
    assert (rasterised(label) == label).all()
    assert (rasterised(1 - label) == 1 - label).all()


def test_outlines_of_noise_enclose_exactly_the_pixels() -> None:
    for seed, side in ((0, 9), (1, 24), (2, 40)):
        label = np.random.default_rng(seed).integers(0, 3, (side, side + 3)).astype(np.uint8)
        assert (rasterised(label) == label).all()


def test_the_masks_of_camvid_come_back_from_outlines(camvid: Path) -> None:
    label = np.array(Image.open(sorted((camvid / "valannot").iterdir())[0]))
    assert (rasterised(label) == label).all()


def test_an_outline_has_few_points_and_no_corner_twice() -> None:
    triangle = np.tril(np.ones((50, 50), np.uint8))
    (part,) = find_parts(triangle, without={0})
    assert len(part.polygons[0]) <= 8  # not a point for each of 50 steps
    for rows in SHAPES.values():
        for part in find_parts(label_of(rows)):
            for polygon in part.polygons:
                assert len(polygon) >= 4
                assert len(np.unique(polygon, axis=0)) == len(polygon)


def test_objects_are_connected_parts_and_background_is_none() -> None:
    label = np.zeros((6, 8), np.uint8)
    label[0, 0], label[1, 1], label[2:5, 4:7] = 1, 1, 2
    label[3, 5] = 0  # a hole
    entries = coco_annotations(label, CLASSES)
    assert [(entry["category_id"], entry["area"], entry["bbox"]) for entry in entries] == [
        (1, 1, [0, 0, 1, 1]), (1, 1, [1, 1, 1, 1]), (2, 8, [4, 2, 3, 3]),
    ]  # fmt: skip
    shapes = labelme_content(label, CLASSES, "../a.jpg")["shapes"]
    assert [shape["label"] for shape in shapes[:2]] == ["cat", "cat"]
    dogs = [shape["group_id"] for shape in shapes[2:]]
    assert len(dogs) > 1  # polygons of one object: they belong to one group
    assert len(set(dogs)) == 1
    assert None not in dogs
    everything = coco_annotations(label, ["sky", "car", "road"])
    assert sorted({entry["category_id"] for entry in everything}) == [1, 2, 3]


def shares(output: Path) -> dict[str, list[float]]:
    with (output / "shares.csv").open() as file:
        titles, *lines = csv.reader(file)
    assert titles == ["image", *Shapes.classes]
    return {name: [float(value) for value in values] for name, *values in lines}


ALL = ("coco=true", "labelme=true", "shares=true", "overlays=false", "crf=none")


def test_predictions_come_back_from_coco_and_labelme(ckpt: Path, tmp_path: Path) -> None:
    """What predict writes, prepare reads: with the images beside it, the masks are the predicted ones."""
    arrays = pictures(tmp_path / "in", "a.png", "sub/b.png", "c.bmp")
    write_image(tmp_path / "in/turned.jpg", 40, 30, orientation=6)  # is labelled upright, 30 x 40
    assert run(ckpt, tmp_path / "in", tmp_path / "out", *ALL) == []
    predicted = {path.stem: np.array(Image.open(path)) for path in (tmp_path / "out/masks").rglob("*.png")}
    assert len(predicted) == len(arrays) + 1
    for kind in ("coco.json", "labelme"):
        conversion = convert(tmp_path / "out" / kind, tmp_path / f"from_{kind}", images=tmp_path / "in")
        assert conversion.faults == []
        assert list(conversion.classes) == list(Shapes.classes)
        again = {Path(name).stem: mask for name, mask in masks_of(tmp_path / f"from_{kind}").items()}
        assert again.keys() == predicted.keys()
        for name, label in predicted.items():
            assert (again[name] == label).all(), (kind, name)
    for name, values in shares(tmp_path / "out").items():
        label = predicted[Path(name).stem]
        assert values == pytest.approx([(label == index).mean() for index in range(len(values))], abs=1e-5)
    assert list(shares(tmp_path / "out")) == ["a.png", "c.bmp", "sub/b.png", "turned.jpg"]


def test_pycocotools_reads_the_file(ckpt: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    run(ckpt, tmp_path / "in", tmp_path / "out", *ALL)
    coco = COCO(tmp_path / "out/coco.json")
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    assert len(coco.getAnnIds()) == len(set(coco.getAnnIds())) > 2
    for image in coco.loadImgs(coco.getImgIds()):
        label = np.array(Image.open(tmp_path / "out/masks" / image["file_name"]))
        assert label.shape == (image["height"], image["width"])
        drawn = np.zeros_like(label)
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            drawn[coco.annToMask(annotation) == 1] = Shapes.classes.index(names[annotation["category_id"]])
        assert (drawn == label).all()


def test_a_stopped_command_writes_what_a_whole_one_writes(ckpt: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png", "c.png", "d.png")
    run(ckpt, tmp_path / "in", tmp_path / "whole", *ALL)
    (tmp_path / "part").mkdir()
    for name in ("a.png", "c.png"):  # the first run saw only these
        shutil.copy(tmp_path / "in" / name, tmp_path / "part")
    run(ckpt, tmp_path / "part", tmp_path / "out", *ALL)
    assert list(shares(tmp_path / "out")) == ["a.png", "c.png"]
    run(ckpt, tmp_path / "in", tmp_path / "out", *ALL)
    stopped = tmp_path / "stopped"  # before the files about all images were written, and before the last mask
    shutil.copytree(tmp_path / "whole", stopped)
    for name in ("shares.csv", "coco.json", "masks/d.png"):
        (stopped / name).unlink()
    run(ckpt, tmp_path / "in", stopped, *ALL)
    for name in ("shares.csv", "coco.json"):
        whole = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes() == whole
        assert (stopped / name).read_bytes() == whole
    before = stamps(stopped)
    run(ckpt, tmp_path / "in", stopped, *ALL)
    assert {name for name, time in stamps(stopped).items() if time != before[name]} <= {"predict.json"}


def test_entries_are_kept_until_they_are_to_be_overwritten(ckpt: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    run(ckpt, tmp_path / "in", tmp_path / "out", *ALL)
    path = tmp_path / "out/shares.csv"
    header, first, second = path.read_text().splitlines()
    changed = ",".join([first.split(",")[0], *["0.5"] * (first.count(","))])
    path.write_text("\n".join((header, changed, second)) + "\n")
    run(ckpt, tmp_path / "in", tmp_path / "out", *ALL)
    assert path.read_text().splitlines()[1] == changed
    run(ckpt, tmp_path / "in" / "a.png", tmp_path / "out", *ALL, "overwrite=true")
    assert path.read_text().splitlines() == [header, first, second]
    assert len(json.loads((tmp_path / "out/coco.json").read_text())["images"]) == 2


def test_a_file_of_another_kind_is_not_overwritten(ckpt: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/coco.json").write_text("{}")
    with pytest.raises(UserError, match="already has files of these names"):
        run(ckpt, tmp_path / "in", tmp_path / "out", *ALL)
    (tmp_path / "out/coco.json").unlink()
    run(ckpt, tmp_path / "in", tmp_path / "out", "overlays=false", "crf=none")
    for name, text in (("coco.json", "[1]"), ("shares.csv", "image,x\n"), ("coco.json", "{"), ("shares.csv", "")):
        (tmp_path / "out" / name).write_text(text)
        with pytest.raises(UserError, match=f"{name}: was not written by predict with these classes"):
            run(ckpt, tmp_path / "in", tmp_path / "out", *ALL)
        assert (tmp_path / "out" / name).read_text() == text
        (tmp_path / "out" / name).unlink()


def test_files_about_all_images_need_the_masks(ckpt: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    with pytest.raises(UserError, match="shares=true needs masks=true"):
        run(ckpt, tmp_path / "in", tmp_path / "out", "masks=false", "shares=true")


def test_without_a_background_every_class_is_an_object(camvid: Path, tmp_path: Path) -> None:
    """CamVid has no background: nothing is left without a label, and unlabelled=void keeps its classes."""
    write_checkpoint(tmp_path / "net.ckpt", classes=CamVid.classes, palette=CamVid.palette)
    (tmp_path / "in").mkdir()
    source = sorted((camvid / "val").iterdir())[0]
    Image.open(source).resize((90, 70)).save(tmp_path / "in/a.png")
    Image.open(source).resize((70, 90)).save(tmp_path / "in/b.png")
    run(tmp_path / "net.ckpt", tmp_path / "in", tmp_path / "out", *ALL)
    for kind in ("coco.json", "labelme"):
        conversion = convert(
            tmp_path / "out" / kind, tmp_path / f"from_{kind}", images=tmp_path / "in", unlabelled="void"
        )
        assert list(conversion.classes) == list(CamVid.classes)
        for name, mask in masks_of(tmp_path / f"from_{kind}").items():
            assert (mask == np.array(Image.open(tmp_path / "out/masks" / f"{name}.png"))).all()


def test_a_stopped_command_that_overwrites_leaves_nothing_of_other_settings(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "in", "a.png", "b.png")
    run(ckpt, tmp_path / "in", tmp_path / "whole", *ALL, "inference.flip=true")
    run(ckpt, tmp_path / "in", tmp_path / "out", *ALL)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("src.prediction.predict.run", stop)
        with pytest.raises(KeyboardInterrupt):
            run(ckpt, tmp_path / "in", tmp_path / "out", *ALL, "inference.flip=true", "overwrite=true")
    run(ckpt, tmp_path / "in", tmp_path / "out", *ALL, "inference.flip=true")
    for name in ("shares.csv", "coco.json", "masks/a.png", "masks/b.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
