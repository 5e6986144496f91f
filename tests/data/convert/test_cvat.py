"""CVAT's exports: its XML, and masks with labelmap.txt."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.convert import FaultyLabels
from tests.data.convert.pictures import masks_of, run, write_image

META = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>7</id><name>pets</name><size>2</size><mode>{mode}</mode><labels>
    <label><name>cat</name><color>#ff0000</color><type>any</type><attributes></attributes></label>
    <label><name>dog</name><color>#00ff00</color><type>any</type><attributes></attributes></label>
  </labels>
  <original_size><width>40</width><height>30</height></original_size></task></meta>
{body}</annotations>
"""


def export(root: Path, *objects: str, names: tuple[str, str] = ("a.jpg", "b.jpg")) -> Path:
    """Write annotations.xml with these objects on the first image and none on the second, both of 40 x 30 pixels."""
    for name in names:
        write_image(root / "images" / name, 40, 30)
    body = "".join(
        f'  <image id="{i}" name="{name}" width="40" height="30">{"".join(objects) if not i else ""}</image>\n'
        for i, name in enumerate(names)
    )
    (root / "annotations.xml").write_text(META.format(mode="annotation", body=body))
    return root


def box(label: str, x0: float, y0: float, x1: float, y1: float, more: str = 'z_order="0"') -> str:
    return (
        f'<box label="{label}" source="manual" occluded="0" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}" {more}></box>'
    )


def test_the_order_of_the_tool_decides(tmp_path: Path) -> None:
    high = box("cat", 0, 0, 10, 10, 'z_order="1"')
    polygon = '<polygon label="dog" source="manual" occluded="0" points="5,5;15,5;15,15;5,15" z_order="0"></polygon>'
    conversion = run(export(tmp_path / "export", high, polygon, box("cat", 12, 12, 20, 20)), tmp_path / "out")
    assert (conversion.title, conversion.evidence) == ("CVAT XML", "annotations.xml")
    assert conversion.classes == ("background", "cat", "dog")
    label = np.zeros((30, 40), np.uint8)
    label[5:15, 5:15], label[12:20, 12:20], label[:10, :10] = 2, 1, 1
    assert (masks_of(tmp_path / "out")["a"] == label).all()
    assert not masks_of(tmp_path / "out")["b"].any()


def test_every_type_of_object(tmp_path: Path) -> None:
    objects = [
        '<mask label="dog" source="semi-auto" occluded="0" rle="1, 2, 3, 2, 1" left="30" top="20" width="3" height="3" '
        'z_order="0"></mask>',
        '<ellipse label="cat" occluded="0" cx="15" cy="15" rx="10" ry="5" rotation="90" z_order="0"></ellipse>',
        '<polyline label="cat" points="0,0;9,9" z_order="0"></polyline>',
        '<points label="cat" points="0,0" z_order="0"></points>',
        '<tag label="cat"></tag>',
    ]
    conversion = run(export(tmp_path / "export", *objects), tmp_path / "out")
    assert conversion.faults == []
    assert "1 object of the type polyline skipped: without area" in conversion.notes
    label = masks_of(tmp_path / "out")["a"]
    assert np.argwhere(label == 2).tolist() == [[20, 31], [20, 32], [22, 30], [22, 31]]
    assert (label == 1).sum() == pytest.approx(np.pi * 50, rel=0.03)
    assert np.ptp(np.argwhere(label == 1), 0).tolist() == [19, 9]


def test_tracks_of_a_video(tmp_path: Path) -> None:
    root = tmp_path / "export"
    tracks = (
        '<track id="0" label="cat" source="manual">'
        '<box frame="0" keyframe="1" outside="0" occluded="0" xtl="0" ytl="0" xbr="4" ybr="4" z_order="0"></box>'
        '<box frame="1" keyframe="1" outside="0" occluded="0" xtl="2" ytl="0" xbr="6" ybr="4" z_order="0"></box>'
        '<box frame="2" keyframe="1" outside="1" occluded="0" xtl="2" ytl="0" xbr="6" ybr="4" z_order="0"></box>'
        "</track>"
    )
    for frame in range(3):
        write_image(root / "images" / f"frame_{frame:06d}.PNG", 40, 30)
    (root / "annotations.xml").write_text(META.format(mode="interpolation", body=tracks))
    assert run(root, tmp_path / "out").faults == []
    masks = masks_of(tmp_path / "out")
    assert set(masks) == {"frame_000000", "frame_000001"}
    assert np.argwhere(masks["frame_000001"]).min(0).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (
            '<polygon label="cat" points="0,0;9,9" z_order="0"/>',
            "polygon of a.jpg: its polygon has 2 corners, and needs 3",
        ),
        ('<polygon label="cat" points="0,0;9,9;x,1"/>', "polygon of a.jpg: contains something other than numbers"),
        ('<polygon points="0,0;9,9;1,9"/>', "polygon of a.jpg: has no label"),
        ('<box label="cat" xtl="0" ytl="0" xbr="4"/>', "box of a.jpg: needs xtl, ytl, xbr, ybr"),
        (
            '<mask label="cat" rle="4" left="0" top="0" width="3" height="3"/>',
            "mask of a.jpg: its run lengths do not add up to 3x3 pixels",
        ),
    ],
)
def test_a_faulty_object_is_named(tmp_path: Path, broken: str, reason: str) -> None:
    root = export(tmp_path / "export", broken)
    export(root / "more", box("cat", 0, 0, 5, 5), names=("c.jpg", "d.jpg"))
    assert run(root, tmp_path / "out").faults == [f"annotations.xml: {reason}"]
    assert set(masks_of(tmp_path / "out")) == {"images/b", "more/images/c", "more/images/d"}


def test_xml_that_is_broken_or_dangerous(tmp_path: Path) -> None:
    root = export(tmp_path / "export")
    for text, reason in (("<annotations><", "broken XML"), ("<!DOCTYPE x []><annotations>", "do not trust this file")):
        (root / "annotations.xml").write_text(text)
        with pytest.raises(FaultyLabels) as refused:
            run(root, tmp_path / reason)
        assert reason in refused.value.faults[0]


LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:61,61,245::\nold: dog:250,50,83::\n"


def export_masks(root: Path, images: bool = True) -> Path:
    """Write a "Segmentation mask 1.1" of three images, the last one without a mask."""
    label = np.zeros((30, 40, 3), np.uint8)
    label[:5, :5], label[10:, :] = (61, 61, 245), (250, 50, 83)
    for name in ("a", "sub/b", "c"):
        if images:
            write_image(root / "JPEGImages" / f"{name}.jpg", 40, 30)
        for folder in ("SegmentationClass", "SegmentationObject"):
            path = root / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if name != "c":
                Image.fromarray(label).save(path)
    (root / "labelmap.txt").write_text(LABELMAP)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("a\nsub/b\nc\n")
    return root


def test_segmentation_masks(tmp_path: Path) -> None:
    conversion = run(export_masks(tmp_path / "export"), tmp_path / "out")
    assert conversion.faults == []
    assert conversion.evidence == "labelmap.txt"
    assert conversion.classes == ("background", "cat", "old: dog")
    assert conversion.palette == [(0, 0, 0), (61, 61, 245), (250, 50, 83)]
    masks = masks_of(tmp_path / "out")
    assert np.bincount(masks["sub/b"].ravel()).tolist() == [400 - 25, 25, 800]
    assert not masks["c"].any()


def test_segmentation_masks_without_images(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / "photos" / f"{name}.jpg", 40, 30)
    root = export_masks(tmp_path / "export", images=False)
    with pytest.raises(FaultyLabels) as refused:
        run(root, tmp_path / "refused")
    assert refused.value.faults[0] == (
        "SegmentationClass/a.png: its image a is missing; set images_from=FOLDER to the folder of the images"
    )
    assert run(root, tmp_path / "out", images=tmp_path / "photos").faults == []
    assert (tmp_path / "out/images/b.jpg").read_bytes() == (tmp_path / "photos/b.jpg").read_bytes()


def test_background_may_be_void(tmp_path: Path) -> None:
    conversion = run(export_masks(tmp_path / "export"), tmp_path / "out", unlabelled="void")
    assert conversion.classes == ("cat", "old: dog")
    masks = masks_of(tmp_path / "out")
    assert np.unique(masks["a"]).tolist() == [0, 1, 255]
    assert np.unique(masks["c"]).tolist() == [255]


def test_a_colour_that_is_no_label(tmp_path: Path) -> None:
    root = export_masks(tmp_path / "export")
    Image.new("RGB", (40, 30), (1, 2, 3)).save(root / "SegmentationClass/a.png")
    (fault,) = run(root, tmp_path / "out").faults
    assert "SegmentationClass/a.png: 1 colour is neither in the palette nor void, such as [[1, 2, 3]]" in fault
