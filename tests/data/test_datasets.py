"""Each data set against its published definition; every fault is named."""

import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

from src.data import ADE20K, VOC12, CamVid, Cityscapes, DatasetError, Folder, Shapes
from src.data.checks import check_splits
from src.data.colours import voc_palette
from src.data.sets.shapes import with_void_boundary

SAMPLES = {"train": 6, "val": 4}


def test_shapes_are_reproducible_and_splits_differ():
    one, two = Shapes("train", SAMPLES, size=65, seed=3), Shapes("train", SAMPLES, size=65, seed=3)
    assert len(one) == 6
    for index in (5, 0):  # in any order
        assert np.array_equal(one[index].image, two[index].image)
        assert np.array_equal(one[index].label, two[index].label)
    assert not np.array_equal(one[0].image, Shapes("val", SAMPLES, size=65, seed=3)[0].image)
    assert not np.array_equal(one[0].image, Shapes("train", SAMPLES, size=65, seed=4)[0].image)


def test_shapes_hold_every_class_and_void():
    labels = np.stack([sample.label for sample in map(Shapes("train", {"train": 40}).__getitem__, range(40))])
    assert set(np.unique(labels)) == {*range(len(Shapes.classes)), 255}


def test_void_lies_on_both_sides_of_a_boundary_and_nowhere_else():
    label = np.zeros((5, 8), np.uint8)
    label[:, 4:] = 2
    assert with_void_boundary(label)[2].tolist() == [0, 0, 0, 255, 255, 2, 2, 2]


def test_shapes_reject_an_unknown_split():
    with pytest.raises(ValueError, match="train, val, test"):
        Shapes("dev", {"dev": 1})


def test_voc_palette_is_the_devkits():
    """The first colours of VOClabelcolormap in the devkit's documentation, and void's, 255."""
    assert voc_palette(4).tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert voc_palette(16)[15].tolist() == [192, 128, 128]  # person
    assert voc_palette(256)[255].tolist() == [224, 224, 192]


def test_real_voc_masks_use_the_voc_palette(voc_mini):
    for path in (voc_mini / "SegmentationClass").glob("*.png"):
        stored = np.array(Image.open(path).getpalette(), np.uint8).reshape(-1, 3)
        assert np.array_equal(stored[:21], voc_palette(21))


def test_voc_real(voc_mini):
    sizes = {"2011_000003": (338, 500), "2011_000006": (375, 500), "2011_000025": (375, 500)}
    samples = [sample for split in ("train", "val") for sample in VOC12(str(voc_mini), split)]
    assert {sample.id: sample.image.shape[:2] for sample in samples} == sizes
    assert all(set(np.unique(sample.label)) <= {*range(21), 255} for sample in samples)


def test_voc_without_lists_is_split_with_a_warning(voc, caplog):
    """One fifth of the images with a mask are for validation; no image is in both splits."""
    shutil.rmtree(voc / "ImageSets")
    for index in range(8):
        Image.new("RGB", (20, 10)).save(voc / "JPEGImages" / f"{index}.jpg")
        Image.new("L", (20, 10), 3).save(voc / "SegmentationClass" / f"{index}.png")
    Image.new("RGB", (20, 10)).save(voc / "JPEGImages" / "no_mask.jpg")
    train, val = ([id_ for id_, *_ in VOC12(str(voc), split).pairs] for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    assert sorted(train + val) == sorted([*map(str, range(8)), "a", "b"])
    assert "no lists; val has 2 images" in caplog.text
    with pytest.raises(DatasetError, match=r"has no list test\.txt"):
        VOC12(str(voc), "test")


def test_camvid_real(camvid):
    train, val = CamVid(str(camvid), "train"), CamVid(str(camvid), "val")
    assert (len(train), len(val)) == (367, 101)
    sample = val[0]
    assert sample.image.shape == (360, 480, 3)
    raw = np.asarray(Image.open(camvid / "valannot" / f"{sample.id}.png"))
    assert np.array_equal(sample.label == 255, raw == 11)
    assert np.array_equal(sample.label[raw < 11], raw[raw < 11])


@pytest.fixture
def voc(tmp_path):
    """Return a devkit of two pairs, with lists."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    for name in "ab":
        Image.new("RGB", (20, 10)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        Image.new("L", (20, 10), 3).save(tmp_path / "SegmentationClass" / f"{name}.png")
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("b\n")
    return tmp_path


def test_voc_lists(voc):
    assert [id_ for id_, *_ in VOC12(str(voc), "train").pairs] == ["a", "b"]
    assert [id_ for id_, *_ in VOC12(str(voc), "train", lists={"train": "val"}).pairs] == ["b"]
    with pytest.raises(DatasetError, match=r"trainval\.txt: missing; existing lists: train, val"):
        VOC12(str(voc), "trainval")


@pytest.mark.parametrize("dataset", [ADE20K, CamVid, Cityscapes, VOC12, partial(Folder, classes=["a", "b"])])
def test_a_root_that_is_no_data_set_is_explained(dataset, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "file").touch()
    for root, line in {
        "nowhere": r"no such folder \(a relative path starts where you run the command\); set root=FOLDER",
        f"{tmp_path}/file": "is a file, not a folder; set root=FOLDER",
        f"{tmp_path}/other": "no folders .*/ and .*/ there; it holds no folder; set root=FOLDER",
        str(tmp_path): "no folders .*/ and .*/ there; it holds other/; set root=FOLDER",
    }.items():
        with pytest.raises(DatasetError, match=f"^root={root}: {line}"):
            dataset(root, "train")


def break_label(voc):
    Image.new("L", (20, 10), 77).save(voc / "SegmentationClass/b.png")


def break_size(voc):
    Image.new("L", (21, 10)).save(voc / "SegmentationClass/b.png")


def break_colours(voc):
    Image.new("RGB", (20, 10)).save(voc / "SegmentationClass/b.png")


def break_jpeg(voc):
    path = voc / "JPEGImages/b.jpg"
    path.write_bytes(path.read_bytes()[:150])


def break_missing(voc):
    (voc / "JPEGImages/b.jpg").unlink()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (break_label, r"b\.png: labels \[77\] are neither a class \(0\.\.20\) nor void \(255\)"),
        (break_size, r"b\.png: the mask is 21x10, its image .*b\.jpg is 20x10"),
        (break_colours, r"b\.png: a mask must have one class index per pixel"),
        (break_jpeg, r"b\.jpg: cannot be read"),
        (break_missing, r"b\.jpg: missing"),
    ],
)
def test_check_names_the_faulty_file(voc, fault, said):
    dataset = VOC12(str(voc), "train")
    dataset.check()
    fault(voc)
    with pytest.raises(DatasetError, match=said):
        dataset.check()


@pytest.fixture
def folder(tmp_path):
    """Return a folder of ten pairs of an image and a mask."""
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    for index in range(10):
        Image.new("RGB", (20, 10)).save(tmp_path / "images" / f"{index}.jpg")
        Image.new("L", (20, 10), index % 2).save(tmp_path / "masks" / f"{index}.png")
    return tmp_path


def test_folder_splits_are_reproducible(folder):
    def names(split, **options):
        return [id_ for id_, *_ in Folder(str(folder), split, ["ground", "thing"], **options).pairs]

    assert len(names("val")) == 2
    assert sorted(names("train") + names("val")) == [str(i) for i in range(10)]
    assert names("val") == names("val")
    assert any(names("val") != names("val", seed=seed) for seed in range(1, 5))


def test_folder_without_lists_has_no_test_split(folder):
    with pytest.raises(DatasetError, match=r"has no list test\.txt; without lists, only the splits train and val"):
        Folder(str(folder), "test", classes=["ground", "thing"])


def test_folder_reads_lists(folder):
    (folder / "train.txt").write_text("1\n2\n3\n")
    with pytest.raises(DatasetError, match=r"val\.txt: missing"):
        Folder(str(folder), "val", ["ground", "thing"])
    (folder / "val.txt").write_text("9\n")
    dataset = Folder(str(folder), "val", ["ground", "thing"])
    assert dataset[0].id == "9"
    assert (dataset[0].label == 1).all()
    (folder / "val.txt").write_text("10\n")
    with pytest.raises(DatasetError, match="10 is not in"):
        Folder(str(folder), "val", ["ground", "thing"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": []}, r"^classes=\[\]: name them by index"),
        ({"classes": [f"c{index}" for index in range(256)]}, r"^classes=\[\.\.\.\] has 256 names; the maximum is 255"),
        ({"classes": ["a", "b"], "palette": [[0, 0, 0]]}, r"^palette=\[\[0, 0, 0\]\]: has 1 colour for 2 classes"),
        ({"classes": ["a", "b"], "values": [0, 1, 2]}, r"^values=\[0, 1, 2\]: has 3 values for 2 classes"),
        ({"classes": ["a", "b"], "val_share": 1.0}, "^val_share=1.0: must lie between 0 and 1"),
        ({"classes": ["a", "b"], "on_error": "ignore"}, "^on_error=ignore: must be raise or skip"),
        ({"classes": ["a", "b"], "values": [0, 70_000]}, "^values=70000: must be a whole number from 0 to 65535"),
        ({"classes": ["a", "b"], "values": [7, 7]}, r"^values=\[7, 7\]: two classes have the same value"),
        (
            {"classes": ["a", "b"], "palette": [[0, 0, 0], [1.5, 0, 0]]},
            r"^palette=1\.5: must be a whole number",
        ),
        ({"classes": ["a", "b"], "palette": [[0, 0, 0], [1, 0]]}, "three numbers for each class"),
        ({"classes": ["a", "b"], "palette": "red"}, "^palette=red: must be a list of colours, one for each class"),
        ({"classes": ["a", "b"], "palette": [0, 1]}, r"^palette=\[0, 1\]: must have three numbers for each class"),
        ({"classes": ["a", "b"], "values": 5}, "^values=5: must be a list of values, one for each class"),
        ({"classes": ["a", "b"], "values": [True, False]}, "^values=True: must be a whole number"),
        ({"classes": ["a", "b"], "void": 1.5}, "^void=1.5: must be a whole number"),
        ({"classes": ["a", "b"], "void": "white"}, "^void=white: must be a whole number"),
        ({"classes": ["a", "b"], "void": [1, 2]}, r"^void=\[1, 2\]: must be a value, a colour of three numbers, or"),
        ({"classes": ["a", "b"], "void": -1}, "^void=-1: must be a whole number from 0 to 65535"),
        ({"classes": ["a", "b"], "void": 0}, r"^void=0: is also the value of a; .*values=\[\.\.\.\]"),
        (
            {"classes": ["a", "b"], "palette": [[1, 2, 3], [1, 2, 3]]},
            r"^palette=\[\[1, 2, 3\], \[1, 2, 3\]\]: a colour occurs twice",
        ),
    ],
)
def test_folder_names_the_key(folder, options, said):
    with pytest.raises(DatasetError, match=said):
        Folder(str(folder), "train", **options)


def test_masks_in_colours(folder):
    """Compared pixel by pixel with a palette written here; alpha is ignored, and void has its own colour."""
    colours = {(0, 0, 0): 0, (200, 30, 7): 1, (7, 30, 200): 2, (255, 255, 255): 255}
    expected = np.array(list(colours.values()), np.uint8)[np.random.default_rng(0).integers(0, 4, (10, 20))]
    pixels = np.zeros((10, 20, 4), np.uint8)
    for colour, index in colours.items():
        pixels[expected == index] = (*colour, 99)
    for index in range(10):
        mode = pixels if index % 2 else np.ascontiguousarray(pixels[..., :3])
        Image.fromarray(mode).save(folder / "masks" / f"{index}.png")
    options = {"palette": [[0, 0, 0], [200, 30, 7], [7, 30, 200]], "void": [255, 255, 255]}
    dataset = Folder(str(folder), "train", ["ground", "red", "blue"], **options)
    dataset.check()
    assert all(np.array_equal(dataset[index].label, expected) for index in range(len(dataset)))
    pixels[3, 4] = (201, 30, 7, 0)
    Image.fromarray(pixels).save(folder / "masks" / f"{dataset.pairs[0][0]}.png")
    with pytest.raises(DatasetError, match=r"1 colour is neither in the palette nor void, such as \[\[201, 30, 7\]\]"):
        dataset.check()


# Three colours for red, black and blue, which are classes 1, 0 and 2; a file's own palette has them in another order.
OWN_PALETTE = [[255, 0, 0], [0, 0, 0], [0, 0, 255], [255, 255, 255]]
PALETTE = [[0, 0, 0], [255, 0, 0], [0, 0, 255]]


def write_masks(folder, values, palette=None, mode=None):
    image = Image.fromarray(np.uint8(values))
    if palette:
        image.putpalette(np.uint8(palette).tobytes())
    for index in range(10):
        (image.convert(mode) if mode else image).save(folder / "masks" / f"{index}.png")
        Image.new("RGB", image.size).save(folder / "images" / f"{index}.jpg")


def test_palette_masks_are_read_by_colour_if_a_palette_is_given(folder):
    def label(**options):
        return Folder(str(folder), "train", ["black", "red", "blue"], **options)[0].label.tolist()

    write_masks(folder, [[0, 1, 2, 3]], OWN_PALETTE)
    assert label(palette=PALETTE, void=[255, 255, 255]) == [[1, 0, 2, 255]]
    assert label(palette=PALETTE, void=3) == [[1, 0, 2, 255]]  # the value in the file
    assert label(void=3) == [[0, 1, 2, 255]]  # no colours asked for
    assert label(palette=PALETTE, values=[2, 1, 0], void=3) == [[2, 1, 0, 255]]  # values are, and colours for pictures
    with pytest.raises(DatasetError, match=r"1 value has a colour .* as 3 \(\[255, 255, 255\]\); .*values=\[0,1"):
        label(palette=PALETTE)
    write_masks(folder, [[0, 1, 2, 3]], OWN_PALETTE, "RGB")
    assert label(palette=PALETTE, void=[255, 255, 255]) == [[1, 0, 2, 255]]


def test_grey_masks_are_read_by_colour_if_a_palette_is_given(folder):
    def label(**options):
        return Folder(str(folder), "train", ["white", "black"], **options)[0].label.tolist()

    colours = {"palette": [[255, 255, 255], [0, 0, 0]]}
    write_masks(folder, [[0, 255, 9]])
    assert label(**colours, void=9) == [[1, 0, 255]]
    assert label(**colours, void=[9, 9, 9]) == [[1, 0, 255]]
    with pytest.raises(DatasetError, match=r"such as 9 \(\[9, 9, 9\]\)"):
        label(**colours)
    write_masks(folder, [[0, 255, 255]], mode="1")  # one bit: 1 is white
    assert label(**colours) == [[1, 0, 0]]
    for index in range(10):
        Image.fromarray(np.uint16([[0, 1, 1]])).save(folder / "masks" / f"{index}.png")
    with pytest.raises(DatasetError, match=r"16-bit or larger values, which are not colours; set values="):
        label(**colours)
    assert label(**colours, values=[0, 1]) == [[0, 1, 1]]


def test_a_void_colour_needs_a_palette(folder):
    with pytest.raises(DatasetError, match=r"^void=\[255, 255, 255\]: is a colour; give the classes' colours too"):
        Folder(str(folder), "train", ["ground", "thing"], void=[255, 255, 255])


def test_unknown_values_of_16_bit_masks_are_listed(folder):
    for index in range(10):
        Image.fromarray(np.full((10, 20), 65535 * (index % 2), np.uint16)).save(folder / "masks" / f"{index}.png")
    half = np.full((10, 20), 65535, np.uint16)
    half[:5] = 0
    Image.fromarray(half).save(folder / "masks" / "0.png")
    with pytest.raises(DatasetError, match=r"0\.png: labels \[65535\] .*; values=\[0,65535\] sets the value of each"):
        Folder(str(folder), "train", ["ground", "thing"]).check()
    data = Folder(str(folder), "train", ["ground", "thing"], values=[0, 65535])
    assert {sample.id: sample.label.mean() for sample in data} == {
        name: {"0": 0.5}.get(name, int(name) % 2) for name, *_ in data.pairs
    }


def test_masks_of_0_and_255(folder):
    """By default 255 is void and nothing could be learned, which is refused; with values=[0,255] it is a class."""
    for index in range(10):
        Image.fromarray(np.repeat(np.uint8([[0, 255]]), 10, 1).repeat(10, 0)).save(folder / "masks" / f"{index}.png")
    splits = {split: Folder(str(folder), split, ["ground", "thing"]) for split in ("train", "val")}
    with pytest.raises(DatasetError, match=r"0 and 255 only.* 'values=\[0,255\]'"):
        check_splits(splits, 0)
    dataset = Folder(str(folder), "train", ["ground", "thing"], values=[0, 255])
    dataset.check()
    assert np.unique(dataset[0].label).tolist() == [0, 1]


def test_void_may_have_any_value(folder):
    Image.new("L", (20, 10), 9).save(folder / "masks/0.png")
    (folder / "train.txt").write_text("0\n1\n")
    (folder / "val.txt").write_text("2\n")
    dataset = Folder(str(folder), "train", ["ground", "thing"], void=9)
    assert (dataset[0].label == 255).all()
    assert (dataset[1].label == 1).all()
    Image.new("L", (20, 10), 255).save(folder / "masks/0.png")
    with pytest.raises(DatasetError, match=r"labels \[255\] are neither a class \(0, 1\) nor void \(none\)"):
        Folder(str(folder), "train", ["ground", "thing"], void=None).check()


def test_camvid_reads_the_release_with_void_11(tmp_path):
    for sub in ("test", "testannot"):
        (tmp_path / sub).mkdir()
    Image.new("RGB", (4, 1)).save(tmp_path / "test/a.png")
    Image.fromarray(np.uint8([[0, 10, 11, 255]])).save(tmp_path / "testannot/a.png")
    assert CamVid(str(tmp_path), "test")[0].label.tolist() == [[0, 10, 255, 255]]
    Image.fromarray(np.uint8([[0, 10, 11, 12]])).save(tmp_path / "testannot/a.png")
    with pytest.raises(DatasetError, match=r"labels \[12\] are neither a class \(0\.\.10\) nor void \(11, 255\)"):
        CamVid(str(tmp_path), "test").check()
