"""The files of evaluate, against scikit-learn on predictions of one image at a time."""

import csv
import json
import shutil
import tarfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

from src.crf import DenseCRF
from src.data import VOC12, CamVid, SegmentationDataset, Shapes
from src.evaluation.evaluate import evaluate
from src.evaluation.images import CORRECTED, RIGHT, SPOILED, WRONG, ImageScores, error_map
from src.runs.metric_names import NETWORK
from src.system.errors import UserError
from src.training.segmenter import Segmenter
from src.training.validation import LabelledImage
from tests.checkpoints import SHAPES, segmenter, write_checkpoint
from tests.metrics.test_boundary import f_measures
from tests.metrics.test_trimap import band
from tests.models.networks import composed
from tests.reporting.test_report import read

CPU = ["trainer.accelerator=cpu", "trainer.precision=32-true", "num_workers=0"]
CRF = {"w1": 4, "sxy": 30, "srgb": 10, "iterations": 3, "prune": 0}


def run(folder: Path, *overrides: str) -> dict[str, float]:
    crf = [f"crf.{key}={value}" for key, value in CRF.items()] if "crf=none" not in overrides else []
    return evaluate(composed(f"paths.output_dir={folder}", *CPU, *crf, *overrides, name="evaluate"))


def reference(module: Segmenter, dataset: SegmentationDataset, **crf_options: int) -> tuple[np.ndarray, ...]:
    """Return truth, the network's labels and the CRF's labels of all pixels that count."""
    crf = DenseCRF(**{**CRF, **crf_options})
    parts = []
    for index in range(len(dataset)):
        image, label, _ = dataset[index]
        tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
        q = module.model.predict(tensor[None])[0]
        refined = crf(tensor, q)
        parts.append([x[label != 255] for x in (label, q.argmax(0).numpy(), refined.argmax(0).numpy())])
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Segmenter, dict[str, float]]:
    folder = tmp_path_factory.mktemp("evaluate")
    module = write_checkpoint(folder / "net.ckpt", dataset=SHAPES)
    return folder, module, run(folder, f"ckpt={folder / 'net.ckpt'}")


def test_boundary_f_is_that_of_distances_between_pixels(evaluated: tuple[Path, Segmenter, dict[str, float]]) -> None:
    folder, module, figures = evaluated
    by_image = []
    dataset = Shapes("val", SHAPES["samples"], size=60)
    for index in range(len(dataset)):
        image, label, _ = dataset[index]
        q = module.model.predict(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])[0]
        by_image.append(f_measures(q.argmax(0).numpy(), label, 0.0075))
    expected = np.mean([np.mean(list(scores.values())) for scores in by_image])
    assert figures["val/mean_boundary_f"] == pytest.approx(expected, abs=1e-3)
    disks = [scores[1] for scores in by_image if 1 in scores]
    assert figures["val/boundary_f/disk"] == pytest.approx(np.mean(disks), abs=1e-3)
    assert float(table(folder / "classes.csv")[1]["boundary_f_crf"]) == figures["val/boundary_f_crf/disk"]


def test_every_figure_is_scikit_learns(evaluated: tuple[Path, Segmenter, dict[str, float]]) -> None:
    folder, module, figures = evaluated
    truth, *predictions = reference(module, Shapes("val", SHAPES["samples"], size=60))
    written = json.loads((folder / "metrics.json").read_text())
    rows = table(folder / "classes.csv")
    present = sorted(set(truth.tolist()))
    for suffix, prediction in zip(("", "_crf"), predictions, strict=True):
        found = sorted({*present, *prediction.tolist()})
        ious = dict(zip(found, jaccard_score(truth, prediction, average=None, labels=found), strict=True))
        recalls = dict(zip(present, recall_score(truth, prediction, average=None, labels=present), strict=True))
        assert figures[f"val/miou{suffix}"] == pytest.approx(np.mean(list(ious.values())), abs=1e-4)
        assert figures[f"val/mean_accuracy{suffix}"] == pytest.approx(np.mean(list(recalls.values())), abs=1e-4)
        assert figures[f"val/pixel_accuracy{suffix}"] == pytest.approx(accuracy_score(truth, prediction), abs=1e-4)
        for index, name in enumerate(Shapes.classes):
            for cell, expected in ((written[f"val/iou{suffix}/{name}"], ious.get(index)),
                                   (written[f"val/accuracy{suffix}/{name}"], recalls.get(index)),
                                   (float(rows[index][f"iou{suffix}"] or "nan"), ious.get(index, np.nan))):  # fmt: skip
                assert cell == pytest.approx(expected, abs=1e-4, nan_ok=True)
        matrix = np.array([list(row.values())[1:] for row in table(folder / f"confusion{suffix}.csv")], int)
        expected = confusion_matrix(truth, prediction, labels=range(7))
        assert matrix.sum() == len(truth)
        assert np.abs(matrix - expected).sum() <= 4  # a pixel whose two best classes are equal to the last bit
    assert [int(row["pixels"]) for row in rows] == np.bincount(truth, minlength=7).tolist()


def test_trimap_table_is_the_definition(evaluated: tuple[Path, Segmenter, dict[str, float]]) -> None:
    folder, module, _ = evaluated
    dataset = Shapes("val", SHAPES["samples"], size=60)
    rows = table(folder / "trimap.csv")
    assert [int(row["width"]) for row in rows] == list(range(1, 41))
    labels = []
    for image, truth, _ in (dataset[index] for index in range(len(dataset))):
        tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
        labels.append((truth, module.model.predict(tensor)[0].argmax(0).numpy()))
    for width in (1, 3, 40):
        inside = [band(truth, width) for truth, _ in labels]
        truth, found = (np.concatenate([pair[k][m] for pair, m in zip(labels, inside, strict=True)]) for k in (0, 1))
        assert float(rows[width - 1]["pixel_accuracy"]) == pytest.approx(accuracy_score(truth, found), abs=1e-4)
        assert float(rows[width - 1]["miou"]) == pytest.approx(jaccard_score(truth, found, average="macro"), abs=1e-4)
        assert rows[width - 1]["miou_crf"] != rows[width - 1]["miou"]


def test_plots_and_pictures_are_there(evaluated: tuple[Path, Segmenter, dict[str, float]]) -> None:
    folder, *_ = evaluated
    for name in ("trimap.png", "confusion.png", "confusion_crf.png", "pictures.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200
            assert len(picture.convert("RGB").getcolors(picture.width * picture.height)) > 10


def test_without_crf_no_figure_speaks_of_it(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    figures = run(tmp_path, f"ckpt={tmp_path / 'net.ckpt'}", "crf=none", "+dataset.samples.val=2")
    assert not [name for name in figures if "crf" in name]
    assert not list(tmp_path.glob("*_crf.*"))
    assert len(set(table(tmp_path / "trimap.csv")[0])) == 3


def test_several_looks_change_the_figures_and_windows_that_cover_do_not(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    common = (f"ckpt={tmp_path / 'net.ckpt'}", "crf=none", "+dataset.samples.val=2")
    plain = run(tmp_path, *common)
    assert run(tmp_path, *common, "inference.window=60") == pytest.approx(plain, nan_ok=True)
    assert run(tmp_path, *common, "inference=multi_scale")["val/miou"] != plain["val/miou"]
    assert run(tmp_path, *common, "inference=windows", "inference.window=33", "inference.step=20") != plain


def test_server_archive_has_the_devkits_layout(voc_mini: Path, tmp_path: Path) -> None:
    """A test split without masks: palette PNGs of the size of the images, and no metrics."""
    (tmp_path / "VOC2012" / "JPEGImages").mkdir(parents=True)
    sizes = {}
    for path in sorted((voc_mini / "JPEGImages").iterdir()):
        with Image.open(path) as image:
            small = image.resize((image.width // 4, image.height // 4))
        small.save(tmp_path / "VOC2012" / "JPEGImages" / path.name)
        sizes[path.stem] = small.size
    module = write_checkpoint(tmp_path / "net.ckpt", classes=VOC12.classes, palette=VOC12.palette)
    figures = run(
        tmp_path, f"ckpt={tmp_path / 'net.ckpt'}", "dataset=voc12", f"dataset.root={tmp_path / 'VOC2012'}", "split=test"
    )
    assert np.isnan(figures["test/miou"])
    assert not (tmp_path / "metrics.json").exists()
    for method in ("network", "crf"):
        with tarfile.open(tmp_path / "archive" / f"{method}.tar.gz") as archive:
            archive.extractall(tmp_path / method, filter="data")
        folder = tmp_path / method / "results" / "VOC2012" / "Segmentation" / "comp6_test_cls"
        assert {path.stem for path in folder.iterdir()} == set(sizes)
        for path in folder.iterdir():
            with Image.open(path) as mask:
                assert (mask.mode, mask.size) == ("P", sizes[path.stem])
                assert mask.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
                labels = np.asarray(mask)
            assert labels.max() < 21
            if method == "network":
                image = np.asarray(Image.open(tmp_path / "VOC2012" / "JPEGImages" / f"{path.stem}.jpg"))
                q = module.model.predict(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
                assert (labels == q[0].argmax(0).numpy()).mean() > 0.999


def test_any_data_set_with_the_same_classes(tmp_path: Path) -> None:
    module = write_checkpoint(tmp_path / "net.ckpt")
    chosen = ["dataset=shapes", "dataset.samples={val:2}", "dataset.size=49", "dataset.seed=3", "crf=none"]
    figures = run(tmp_path, f"ckpt={tmp_path / 'net.ckpt'}", *chosen)
    truth, network, _ = reference(module, Shapes("val", {"val": 2}, size=49, seed=3))
    assert figures["val/pixel_accuracy"] == pytest.approx(accuracy_score(truth, network), abs=1e-4)


def test_a_hundred_generated_images(tmp_path: Path) -> None:
    module = write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    size = ["+dataset.samples={train:1,val:100}", "+dataset.size=33"]
    figures = run(tmp_path, f"ckpt={tmp_path / 'net.ckpt'}", *size, "crf.iterations=1")
    truth, network, refined = reference(module, Shapes("val", {"val": 100}, size=33), iterations=1)
    assert figures["val/miou"] == pytest.approx(jaccard_score(truth, network, average="macro"), abs=1e-5)
    assert figures["val/miou_crf"] == pytest.approx(jaccard_score(truth, refined, average="macro"), abs=1e-4)


@pytest.mark.parametrize("name", ["camvid", "voc12"])
def test_real_images(name: str, camvid: Path, voc_mini: Path, tmp_path: Path) -> None:
    """Three frames of CamVid, where void is 11, and three images of VOC of different sizes."""
    if name == "camvid":
        root = tmp_path / "camvid"
        for folder in ("val", "valannot"):
            (root / folder).mkdir(parents=True)
            for path in sorted((camvid / folder).iterdir())[::40]:
                shutil.copy(path, root / folder)
        kind = partial(CamVid, str(root))
    else:
        root, kind = voc_mini, partial(VOC12, str(voc_mini))
    dataset = kind(split="val")
    module = write_checkpoint(tmp_path / "net.ckpt", classes=dataset.classes, palette=dataset.palette)
    figures = run(tmp_path, f"ckpt={tmp_path / 'net.ckpt'}", f"dataset={name}", f"dataset.root={root}", "crf=none")
    truth, network, _ = reference(module, dataset)
    found = np.union1d(truth, network)
    assert figures["val/miou"] == pytest.approx(jaccard_score(truth, network, average="macro", labels=found), abs=1e-5)


def test_the_data_set_may_lie_elsewhere(voc_mini: Path, tmp_path: Path) -> None:
    saved = {"_target_": "src.data.VOC12", "_partial_": True, "root": "/where/it/was/trained"}
    write_checkpoint(tmp_path / "net.ckpt", classes=VOC12.classes, palette=VOC12.palette, dataset=saved)
    with pytest.raises(Exception, match="/where/it/was/trained"):
        run(tmp_path, f"ckpt={tmp_path / 'net.ckpt'}", "crf=none")
    figures = run(tmp_path, f"ckpt={tmp_path / 'net.ckpt'}", "crf=none", f"dataset.root={voc_mini}")
    assert not np.isnan(figures["val/miou"])


def test_other_classes_are_refused(tmp_path: Path, voc_mini: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    with pytest.raises(UserError, match=r"^dataset: has 21 classes .*, the network has 7 .*; choose a data set"):
        run(tmp_path, f"ckpt={tmp_path / 'net.ckpt'}", "dataset=voc12", f"dataset.root={voc_mini}")


def test_a_checkpoint_without_data_set_asks_for_one(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt")
    with pytest.raises(UserError, match="choose dataset=NAME"):
        run(tmp_path, f"ckpt={tmp_path / 'net.ckpt'}")


def test_images_are_listed_worst_first(evaluated: tuple[Path, Segmenter, dict[str, float]]) -> None:
    """Each line is scikit-learn's of one image."""
    folder, module, _ = evaluated
    rows = table(folder / "images.csv")
    dataset = Shapes("val", SHAPES["samples"], size=60)
    assert sorted(row["image"] for row in rows) == [dataset[index].id for index in range(5)]
    refined = [float(row["miou_crf"]) for row in rows]
    assert refined == sorted(refined)
    assert refined != [float(row["miou"]) for row in rows]
    crf = DenseCRF(**CRF)
    for index in range(5):
        image, truth, id_ = dataset[index]
        tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
        q = module.model.predict(tensor[None])[0]
        (row,) = [row for row in rows if row["image"] == id_]
        for suffix, labels in (("", q.argmax(0).numpy()), ("_crf", crf(tensor, q).argmax(0).numpy())):
            true, predicted = truth[truth != 255], labels[truth != 255]
            found = np.union1d(true, predicted)
            by_class = dict(zip(found, jaccard_score(true, predicted, average=None, labels=found), strict=True))
            assert float(row[f"miou{suffix}"]) == pytest.approx(np.mean(list(by_class.values())), abs=2e-3)
            assert float(row[f"pixel_accuracy{suffix}"]) == pytest.approx(accuracy_score(true, predicted), abs=2e-3)
            for number, name in enumerate(Shapes.classes):
                cell = row[f"iou{suffix}/{name}"]
                assert float(cell or "nan") == pytest.approx(by_class.get(number, np.nan), abs=0.02, nan_ok=True)


def test_the_page_shows_the_worst_images(evaluated: tuple[Path, Segmenter, dict[str, float]], tmp_path: Path) -> None:
    folder, *_ = evaluated
    page = read(folder / "worst.html")
    ids = [row["image"] for row in table(folder / "images.csv")]
    places = [page.text.index(id_) for id_ in ids]
    assert places == sorted(places)
    assert len(page.addresses) == 5 * len(ids)  # image, truth, network, CRF, errors
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "made wrong by the CRF" in page.text
    run(tmp_path, f"ckpt={folder / 'net.ckpt'}", "callbacks.images.worst=2", "crf=none")
    page = read(tmp_path / "worst.html")
    worst = [row["image"] for row in table(tmp_path / "images.csv")][:2]
    assert [id_ for id_ in ids if id_ in page.text] == sorted(worst, key=ids.index)
    assert len(page.addresses) == 2 * 4
    assert "CRF" not in page.text
    run(tmp_path / "none", f"ckpt={folder / 'net.ckpt'}", "callbacks.images.worst=0", "crf=none")
    assert not (tmp_path / "none" / "worst.html").exists()


def test_the_error_map_by_hand() -> None:
    truth, network, refined = np.array([[[0, 0, 1, 1, 255]], [[0, 1, 0, 1, 0]], [[0, 0, 0, 2, 1]]], np.uint8)
    assert error_map(truth, network, refined).tolist() == [[RIGHT, CORRECTED, WRONG, SPOILED, 255]]


def test_images_without_labels_come_last_and_not_on_the_page(tmp_path: Path) -> None:
    scores = ImageScores(str(tmp_path), worst=2)
    module = segmenter()
    scores.setup(None, module, "validate")
    for position, truth in enumerate((255, 1, 0, 0)):
        label = torch.full((9, 9), truth, dtype=torch.uint8)
        prediction = torch.zeros(9, 9, dtype=torch.int64)
        prediction[: 3 * (position == 2)] = 1
        pixels = torch.zeros(3, 9, 9, dtype=torch.uint8)
        name = f"i{position}" + "\udcff" * (position == 2)  # the name of a file that is in no encoding
        scores.add(LabelledImage(position, name, pixels, label, NETWORK, prediction))
    trainer = SimpleNamespace(world_size=1, is_global_zero=True)
    module.validation.wait()
    scores.on_validation_epoch_end(trainer, module)
    rows = table(tmp_path / "images.csv")
    # i1 is all wrong; of i2, two thirds are right: IoU 2/3 and 0
    assert [row["image"] for row in rows] == ["i1", "i2\\udcff", "i3", "i0"]
    assert [float(row["miou"] or "nan") for row in rows] == pytest.approx([0, 1 / 3, 1, np.nan], nan_ok=True)
    text = read(tmp_path / "worst.html").text
    assert [name in text for name in ("i1", "i2", "i3", "i0")] == [True, True, False, False]
