"""Images with mask files, in the layouts and with the values and colours that people have."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data import DatasetError
from src.data.colours import voc_palette
from tests.data.convert.pictures import masks_of, run, write_image


def write_mask(path: Path, values: np.ndarray, palette: list[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette(palette)
    image.save(path)


LABEL = np.zeros((30, 40), np.uint8)
LABEL[:10, :20], LABEL[20:, 5:] = 1, 2


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("images/sub/{}.jpg", "annotations/sub/{}.png"),
        ("train/images/{}.jpg", "train/labels/{}.png"),
        ("JPEGImages/{}.jpg", "ground_truth/{}.png"),
        ("photos/{}.jpg", "photos_gt/{}_gt.png"),
        ("train/{}.png", "trainannot/{}.png"),
        ("train/{}.jpg", "train_masks/{}_mask.gif"),
        ("{}.jpg", "{}_mask.png"),
        ("some/{}.png", "some/{}-label.png"),
        ("some/{}.png", "some/mask_{}.png"),
        ("images/target_{}.png", "masks/target_{}.png"),
    ],
)
def test_layouts(tmp_path: Path, image: str, mask: str) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "export" / image.format(name), 40, 30)
        write_mask(tmp_path / "export" / mask.format(name), LABEL)
    conversion = run(tmp_path / "export", tmp_path / "out")
    assert conversion.faults == []
    assert conversion.title == "images with masks"
    assert conversion.classes == ("background", "class_1", "class_2")
    masks = masks_of(tmp_path / "out")
    assert len(masks) == 2
    assert all((label == LABEL).all() for label in masks.values())


def convert_values(tmp_path: Path, *masks: np.ndarray, files: dict[str, str] | None = None) -> tuple[tuple, np.ndarray]:
    """Convert masks of these values; return the classes and the first label map."""
    for index, values in enumerate([*masks, masks[-1]]):
        write_image(tmp_path / "export/images" / f"{index}.jpg", values.shape[1], values.shape[0])
        write_mask(tmp_path / "export/masks" / f"{index}.png", values)
    for name, text in (files or {}).items():
        (tmp_path / "export" / name).write_text(text)
    conversion = run(tmp_path / "export", tmp_path / "out")
    assert conversion.faults == []
    return conversion.classes, masks_of(tmp_path / "out")["0"]


def test_black_and_white(tmp_path: Path) -> None:
    classes, label = convert_values(tmp_path, np.where(LABEL == 1, 255, 0).astype(np.uint8))
    assert classes == ("background", "object")
    assert (label == (LABEL == 1)).all()


def test_grey_values_with_void(tmp_path: Path) -> None:
    grey = np.array([0, 38, 75], np.uint8)[LABEL]
    grey[15] = 255
    classes, label = convert_values(tmp_path, grey)
    assert classes == ("background", "class_38", "class_75")
    expected = LABEL.copy()
    expected[15] = 255
    assert (label == expected).all()


def test_names_beside_the_masks(tmp_path: Path) -> None:
    classes, label = convert_values(tmp_path, LABEL + 1, files={"classes.txt": "void\nsky\nroad\ntree\ncar\n"})
    assert classes == ("sky", "road", "tree", "car")
    assert (label == LABEL).all()


def test_colours_get_their_names(tmp_path: Path) -> None:
    colours = np.array([(0, 0, 0), (255, 0, 0), (18, 52, 86)], np.uint8)
    classes, label = convert_values(tmp_path, colours[LABEL])
    assert classes == ("background", "#123456", "red")
    assert (label == np.array([0, 2, 1])[LABEL]).all()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nsky,0,0,0\nroad,255,0,0\ntree,18,52,86\nvoid,9,9,9\n"),
        ("label_colors.txt", "0 0 0\t\tsky\n255 0 0\t\troad\n18 52 86\t\ttree\n9 9 9\t\tvoid\n"),
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nsky:0,0,0::\nroad:255,0,0::\ntree:18,52,86::\nvoid:9,9,9::\n",
        ),
    ],
)
def test_lists_of_colours(tmp_path: Path, name: str, text: str) -> None:
    colours = np.array([(0, 0, 0), (255, 0, 0), (18, 52, 86)], np.uint8)[LABEL]
    colours[15] = 9
    classes, label = convert_values(tmp_path, colours, files={name: text})
    assert classes == ("sky", "road", "tree")
    expected = LABEL.copy()
    expected[15] = 255
    assert (label == expected).all()


def test_smoothed_colours_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    with pytest.raises(DatasetError, match=r"the masks have 1,2\d\d colours; they may have been smoothed"):
        convert_values(tmp_path, noise)


def test_masks_whose_palette_is_for_display(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "export/images" / f"{name}.jpg", 40, 30)
        write_mask(tmp_path / "export/masks" / f"{name}.png", LABEL, voc_palette(3).ravel().tolist())
    assert run(tmp_path / "export", tmp_path / "out").classes == ("background", "class_1", "class_2")


def test_files_without_a_partner_are_named(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for name in ("a", "b", "c", "d"):
        write_image(root / "images" / f"{name}.jpg", 40, 30)
        write_mask(root / "masks" / f"{name}.png", LABEL)
    write_image(root / "images/lonely.jpg", 40, 30)
    write_mask(root / "masks/stray.png", LABEL)
    write_mask(root / "masks/d_mask.png", LABEL)
    write_mask(root / "masks/c.png", LABEL[:20])
    assert run(root, tmp_path / "out").faults == [
        "masks/stray.png: no image belongs to this mask",
        "images/d.jpg: has the masks masks/d.png and masks/d_mask.png",
        "images/lonely.jpg: no mask belongs to it",
        "images/c.jpg: the labels are for 40x20 pixels, the image has 40x30; use the image that was labelled",
    ]
    assert set(masks_of(tmp_path / "out")) == {"a", "b"}


def write_voc(root: Path, mask: np.ndarray, palette: list[int] | None) -> Path:
    for name in ("a", "b", "c"):
        write_image(root / "JPEGImages" / f"{name}.jpg", 40, 30)
        write_mask(root / "SegmentationClass" / f"{name}.png", mask, palette)
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for split, names in {"train": "a\nb\n", "val": "c\n", "trainval": "a\nb\nc\n", "test": "z\n"}.items():
        (lists / f"{split}.txt").write_text(names)
    return root


def test_voc(tmp_path: Path) -> None:
    indices = LABEL.copy()
    indices[15], indices[16] = 255, 20
    palette = voc_palette(256)
    palette[255] = (224, 224, 192)
    write_voc(tmp_path / "palette/VOC2012", indices, palette.ravel().tolist())
    write_voc(tmp_path / "colours", palette[indices], None)
    for kind in ("palette", "colours"):
        conversion = run(tmp_path / kind, tmp_path / f"out_{kind}")
        assert conversion.title == "masks in VOC's layout"
        assert (conversion.classes[0], conversion.classes[20]) == ("background", "tvmonitor")
        assert conversion.splits == {"train": ["a", "b"], "val": ["c"]}
        assert "1 test images have no mask: skipped" in conversion.notes
        assert (masks_of(tmp_path / f"out_{kind}")["a"] == indices).all()


def test_labelme2voc(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for name in ("a", "b"):
        write_image(root / "JPEGImages" / f"{name}.jpg", 40, 30)
        write_mask(root / "SegmentationClassPNG" / f"{name}.png", LABEL, voc_palette(256).ravel().tolist())
        (root / "SegmentationClass").mkdir(exist_ok=True)
        np.save(root / "SegmentationClass" / f"{name}.npy", LABEL)
    (root / "class_names.txt").write_text("_background_\ncat\ndog\n")
    conversion = run(root, tmp_path / "out")
    assert conversion.faults == []
    assert conversion.classes == ("background", "cat", "dog")


def test_two_formats_in_one_folder(tmp_path: Path) -> None:
    from tests.data.convert.test_coco import annotation, export, square
    from tests.data.convert.test_yolo import ROBOFLOW, write

    root = export(tmp_path / "export", [annotation(1, square(0, 0, 4))])
    write(root, ROBOFLOW, "train: ../train/images\nval: ../valid/images\nnames: [cat]")
    with pytest.raises(
        DatasetError,
        match=r"contains COCO JSON \(.*json\) and YOLO segmentation \(data.yaml\); choose one, such as format=coco",
    ):
        run(root, tmp_path / "refused")
    assert run(root, tmp_path / "out", format_="yolo").title == "YOLO segmentation"
