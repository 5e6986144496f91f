"""Data that makes metrics meaningless: ``verify=true`` warns of it; training refuses data with nothing to learn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data import Cityscapes, DatasetError, Folder, Shapes
from src.data.checks import check_splits, find_faults, find_warnings
from src.data.file_dataset import PROBES
from src.data.survey import survey

Write = Callable[..., dict[str, Folder]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a data set with masks of 2 x 3 pixels; every image has its own colour."""
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()

    def write(train: list[list[int]], val: list[list[int]], classes: str = "abc") -> dict[str, Folder]:
        for split, rows in (("train", train), ("val", val)):
            for index, row in enumerate(rows):
                colour = (index % 256, index // 256, len(split))
                Image.new("RGB", (3, 2), colour).save(tmp_path / "images" / f"{split}{index}.png")
                Image.fromarray(np.uint8([row, row])).save(tmp_path / "masks" / f"{split}{index}.png")
            (tmp_path / f"{split}.txt").write_text("".join(f"{split}{index}\n" for index in range(len(rows))))
        return {split: Folder(str(tmp_path), split, list(classes)) for split in ("train", "val")}

    return write


def faults_and_warnings(datasets: dict[str, Folder]) -> tuple[list[str], list[str]]:
    surveys = {split: survey(dataset, 0) for split, dataset in datasets.items()}
    return find_faults(datasets, surveys), find_warnings(datasets, surveys)


def test_good_data_gives_no_warning(write: Write) -> None:
    datasets = write([[0, 1, 2], [0, 0, 255]], [[2, 1, 0]])
    assert faults_and_warnings(datasets) == ([], [])
    check_splits(datasets, 0)


def test_absent_classes_give_a_warning(write: Write) -> None:
    assert faults_and_warnings(write([[0, 1, 1]], [[2, 0, 255]])) == (
        [],
        [
            "train: no pixel of c: a class that does not occur cannot be learned",
            "val: no pixel of b: a class that does not occur has no IoU, and the mean leaves it out",
        ],
    )


def test_a_split_of_one_class_gives_a_warning(write: Write) -> None:
    _, warnings = faults_and_warnings(write([[0, 1, 2]], [[1, 1, 255], [1, 1, 1]]))
    assert warnings[1] == "val: every pixel that counts is b: any network gets it right"


def test_void_masks_give_a_warning(write: Write) -> None:
    _, warnings = faults_and_warnings(write([[0, 1, 2], [255, 255, 255]], [[0, 1, 2]]))
    assert warnings == ["train: 1 mask is void in every pixel, such as that of train1"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_entirely_void_split_is_refused(write: Write, split: str) -> None:
    """Training and verify refuse it, whether or not it has more samples than the quick check opens."""
    rows = {"train": [[0, 1, 2]], "val": [[0, 1, 2]], split: [[255, 255, 255]] * (PROBES + 3)}
    datasets = write(**rows)
    with pytest.raises(DatasetError, match=rf"{split}0\.png: like all masks of its split, void in every"):
        check_splits(datasets, 0)
    assert faults_and_warnings(datasets)[0] == [f"{split}: {PROBES + 3} masks are void in every pixel"]


def test_an_empty_split_is_refused() -> None:
    datasets = {split: Shapes(split, {"train": 2, "val": 0}, size=40) for split in ("train", "val")}
    with pytest.raises(DatasetError, match="split val has no samples"):
        check_splits(datasets, 0)
    assert find_faults(datasets, {split: survey(dataset, 0) for split, dataset in datasets.items()}) == [
        "split val has no samples"
    ]


def test_a_single_labelled_mask_among_many_is_found(write: Write) -> None:
    """It is number 1 of 200, which is not among the 64 that are opened first."""
    rows = [[255, 255, 255]] * 200
    rows[1] = [0, 1, 2]
    check_splits(write(rows, [[0, 1, 2]]), 0)


def test_only_as_many_samples_as_needed_are_opened(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large set with one class only is judged by 64 samples."""
    train = write([[0, 0, 0]] * 200, [[0, 0, 0]], "a")["train"]
    opened = []
    inspect = train.inspect
    monkeypatch.setattr(train, "inspect", lambda index: opened.append(index) or inspect(index))
    train.check()
    assert len(opened) == PROBES
    assert {0, 199} <= set(opened)


def test_masks_of_0_and_255_only_are_refused(write: Write) -> None:
    datasets = write([[0, 255, 255]] * 3, [[0, 0, 255]], "ab")
    line = r"train0\.png: the masks hold 0 and 255 only, and 255 does not count; .* 'values=\[0,255\]'"
    with pytest.raises(DatasetError, match=line):
        check_splits(datasets, 0)
    faults, _ = faults_and_warnings(datasets)
    assert len(faults) == 1
    assert "'values=[0,255]'" in faults[0]
    check_splits(write([[0, 1, 255]], [[0, 0, 255]], "ab"), 0)  # here 255 is void


def test_a_copied_image_in_another_split_gives_a_warning(write: Write, tmp_path: Path) -> None:
    """The copy is found by its pixels; its file has another format."""
    datasets = write([[0, 1, 2], [2, 1, 0]], [[0, 1, 2]])
    with Image.open(tmp_path / "images/train1.png") as image:
        image.save(tmp_path / "images/val0.png", "BMP")
    (doubt,) = faults_and_warnings(datasets)[1]
    assert doubt.startswith(
        "1 image is in val and, with the same pixels, in train, such as val0 and train1: metrics on"
    )


def test_a_hidden_test_split_is_no_fault(tmp_path: Path) -> None:
    """Cityscapes publishes its test masks without labels."""
    for folder, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
        (tmp_path / folder / "test" / "ulm").mkdir(parents=True)
        Image.new("L", (3, 2)).save(tmp_path / folder / "test" / "ulm" / f"ulm_1_{ending}.png")
    test = Cityscapes(str(tmp_path), "test")
    test.check()
    assert find_faults({"test": test}, {"test": survey(test, 0)}) == []


@pytest.mark.parametrize(
    ("classes", "line"),
    [
        ("cat", r"^classes=cat: must be a list of names by index: 'classes=\[background,cat\]'"),
        (5, r"^classes=5: must be a list of names"),
        ({"cat": 1}, r"^classes=\{'cat': 1\}: must be a list of names"),
        ([0, 1], r"""^classes=\[...\]: name 0 is 0, which is not a string; quote it: 'classes=\["0",...\]'"""),
        (["a", None, True], r"name 1 is null, which is not a string"),
        (["a", True], r"name 1 is true, which is not a string"),
        (["a", ""], r'name 1 is ""; a name must be a non-empty string of printable characters'),
        (["a", "  "], r'name 1 is "  "; a name must'),
        (["a", "b\nc"], r'name 1 is "b\\nc"; a name must'),
        (["a", "b", "a"], r'name 2 is "a", and so is name 0; class names must be unique'),
    ],
)
def test_class_names_must_be_distinct_texts(write: Write, tmp_path: Path, classes: object, line: str) -> None:
    write([[0, 1, 2]], [[0, 1, 2]])
    with pytest.raises(DatasetError, match=line) as caught:
        Folder(str(tmp_path), "train", classes)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
