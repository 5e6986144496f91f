"""The predict command: the files that it writes, those that it keeps, and images that it cannot read."""

import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.crf import DenseCRF
from src.data import Shapes
from src.models import Inference
from src.predict import Predictor
from src.prediction.predict import predict
from src.prediction.results.files import WriteError
from src.system.errors import UserError
from src.training.segmenter import Segmenter
from tests.checkpoints import write_checkpoint
from tests.commands import run_command
from tests.conftest import REPO
from tests.models.networks import composed

CRF = {"w1": 4, "sxy": 30, "srgb": 10, "iterations": 3, "prune": 0}


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.ckpt"
    write_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def module(ckpt: Path) -> Segmenter:
    return write_checkpoint(ckpt)


def pictures(folder: Path, *names: str) -> list[np.ndarray]:
    """Write lossless images of several sizes; return their pixels."""
    arrays = [Shapes("val", {"val": 50}, size=33 + 8 * index)[index].image for index in range(len(names))]
    for array, name in zip(arrays, names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array[: len(array) - 3]).save(folder / name)
    return [array[: len(array) - 3] for array in arrays]


def run(ckpt: Path, given: Path | str, output: Path, *overrides: str) -> list[str]:
    common = [f"ckpt={ckpt}", f"input={given}", f"output={output}", "accelerator=cpu", "precision=32-true"]
    crf = [f"crf.{key}={value}" for key, value in CRF.items()] if "crf=none" not in overrides else []
    return predict(composed(*common, *crf, *overrides, name="predict"))


def probabilities(module: Segmenter, pixels: np.ndarray) -> torch.Tensor:
    return module.model.predict(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])[0]


def expected_label(module: Segmenter, pixels: np.ndarray, crf: bool) -> np.ndarray:
    q = probabilities(module, pixels)
    if crf:
        q = DenseCRF(**CRF)(torch.from_numpy(pixels.copy()).permute(2, 0, 1), q)
    return q.argmax(0).numpy()


def stamps(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("crf", ["deeplab", "none"])
def test_masks_hold_the_labels_of_the_network(ckpt: Path, module: Segmenter, crf: str, tmp_path: Path) -> None:
    arrays = pictures(tmp_path / "in", "a.png", "b.bmp", "sub/c.png")
    assert run(ckpt, tmp_path / "in", tmp_path / "out", f"crf={crf}", "probabilities=true") == []
    assert {str(path) for path in map(Path, stamps(tmp_path / "out"))} == {
        "predict.json",
        *(f"{kind}/{name}{end}" for kind, end in (("masks", ".png"), ("overlays", ".jpg"), ("probabilities", ".npz"))
          for name in ("a", "b", "sub/c")),
    }  # fmt: skip
    for array, name in zip(arrays, ("a", "b", "sub/c"), strict=True):
        with Image.open(tmp_path / "out" / "masks" / f"{name}.png") as mask:
            assert mask.mode == "P"
            assert mask.getpalette()[:21] == Shapes.palette.ravel().tolist()
            label = np.asarray(mask)
        assert label.shape == array.shape[:2]
        assert (label == expected_label(module, array, crf != "none")).mean() > 0.999
        with np.load(tmp_path / "out" / "probabilities" / f"{name}.npz") as file:
            assert file["classes"].tolist() == list(Shapes.classes)
            q = file["probabilities"].astype(np.float32)
        np.testing.assert_allclose(q.sum(0), 1, atol=5e-3)
        assert (q.argmax(0) == label).mean() > 0.99
        if crf == "none":
            np.testing.assert_allclose(q, probabilities(module, array).numpy(), atol=1e-3)
        blend = np.asarray(Image.open(tmp_path / "out" / "overlays" / f"{name}.jpg"))
        assert blend.shape == array.shape


def test_existing_results_are_kept_and_missing_ones_are_written(ckpt: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    run(ckpt, tmp_path / "in", tmp_path / "out")
    before = stamps(tmp_path / "out")
    (tmp_path / "out" / "masks" / "b.png").unlink()  # as if stopped before b
    run(ckpt, tmp_path / "in", tmp_path / "out")
    after = stamps(tmp_path / "out")
    assert after.keys() == before.keys()
    changed = {name for name in before if after[name] != before[name]} - {"predict.json"}
    assert changed == {"masks/b.png"}
    run(ckpt, tmp_path / "in", tmp_path / "out", "overwrite=true")
    assert all(stamps(tmp_path / "out")[name] != after[name] for name in after)


def test_results_of_other_settings_are_refused(ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path / "in", "a.png")
    run(ckpt, tmp_path / "in", tmp_path / "out")
    other = tmp_path / "other.ckpt"
    torch.save({**torch.load(ckpt, weights_only=True), "epoch": 1}, other)
    with monkeypatch.context() as patch:
        patch.delattr("src.prediction.predict.Predictor")  # they are refused before the network is loaded
        with pytest.raises(UserError, match="results of another crf"):
            run(ckpt, tmp_path / "in", tmp_path / "out", "crf=none")
        with pytest.raises(UserError, match="results of another inference"):
            run(ckpt, tmp_path / "in", tmp_path / "out", "inference.flip=true")
        with pytest.raises(UserError, match="results of another checkpoint"):
            run(other, tmp_path / "in", tmp_path / "out")
    assert run(ckpt, tmp_path / "in", tmp_path / "out", "crf=none", "overwrite=true") == []
    assert json.loads((tmp_path / "out" / "predict.json").read_text())["crf"] is None


def test_other_masks_are_not_overwritten(ckpt: Path, tmp_path: Path) -> None:
    """The output folder is that of a data set, whose masks have the names of the results."""
    pictures(tmp_path / "data" / "images", "a.png")
    (tmp_path / "data" / "masks").mkdir()
    (tmp_path / "data" / "masks" / "a.png").write_bytes(b"annotation")
    with pytest.raises(UserError, match=r"already has files of these names"):
        run(ckpt, tmp_path / "data" / "images", tmp_path / "data")
    assert (tmp_path / "data" / "masks" / "a.png").read_bytes() == b"annotation"


def test_results_within_the_input_folder_are_not_read(ckpt: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    for _ in range(2):
        run(ckpt, tmp_path / "in", tmp_path / "in")
    assert sorted(name for name in stamps(tmp_path / "in")) == [
        "a.png", "masks/a.png", "overlays/a.jpg", "predict.json",
    ]  # fmt: skip


def test_two_images_of_one_name_have_two_masks(ckpt: Path, module: Segmenter, tmp_path: Path) -> None:
    first, second = pictures(tmp_path / "in", "a.png", "a.bmp")
    run(ckpt, tmp_path / "in", tmp_path / "out", "crf=none", "overlays=false")
    for name, array in (("a.png", first), ("a.bmp", second)):
        label = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{name}.png"))
        assert (label == expected_label(module, array, crf=False)).mean() > 0.999


def broken_and_odd(folder: Path) -> dict[str, str]:
    """Write files that cannot be used, and return the message for each; good.png is valid."""
    folder.mkdir(parents=True, exist_ok=True)
    good = Image.new("RGB", (24, 16), "red")
    good.save(folder / "good.png")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(folder / "whole.jpg")
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:2000])
    (folder / "whole.jpg").rename(folder / "whole.bin")  # no image's ending: not looked at
    noise.save(folder / "torn.png")
    (folder / "torn.png").write_bytes((folder / "torn.png").read_bytes()[:3000])
    (folder / "empty.jpg").touch()
    (folder / "folder.png").mkdir()
    good.save(folder / "folder.png" / "inside.png")
    (folder / "text.jpg").write_text("not a picture\n")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    frames = [Image.new("RGB", (24, 16), (index, 0, 0)) for index in (0, 100, 200)]
    frames[0].save(folder / "animation.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.ones((16, 24), np.float32)).save(folder / "float.tiff")
    Image.fromarray(np.full((16, 24), 70000, np.int32)).save(folder / "int.tiff")
    Image.new("1", (20000, 10000)).save(folder / "huge.png")
    Image.new("1", (10000, 9000)).save(folder / "large.png")
    return {
        "truncated.jpg": "cannot be read (",
        "torn.png": "cannot be read (",
        "empty.jpg": "an empty file",
        "folder.png": "a folder, not a file",
        "text.jpg": "not an image that Pillow can read",
        "loop.png": "cannot be read (",
        "nowhere.png": "a broken link",
        "animation.gif": "3 frames or pages; save the one you want",
        "float.tiff": "32-bit pixels of unknown range (mode F)",
        "int.tiff": "32-bit pixels of unknown range (mode I)",
        "large.png": "10000x9000, more than 89,478,485 pixels; cut it into tiles",
        "huge.png": "more than 89,478,485 pixels; cut it into tiles",
    }


def test_bad_files_do_not_stop_the_rest(ckpt: Path, tmp_path: Path) -> None:
    """There is a line for each bad file at the end, the exit status is 1, and the other files are done."""
    expected = broken_and_odd(tmp_path / "in")
    Image.new("RGB", (1, 1), "red").save(tmp_path / "in" / "pixel.png")
    files = (f"ckpt={ckpt}", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}")
    done = run_command("predict", *files, f"paths.log_dir={tmp_path / 'logs'}", "accelerator=cpu")
    assert done.returncode == 1, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(expected)
    for line in lines:
        name = Path(line.removeprefix("error: ").split(": ")[0]).name
        assert line == f"error: {tmp_path / 'in' / name}: {line.split(': ', 2)[2]}"
        assert line.split(": ", 2)[2].startswith(expected.pop(name))
    assert not expected
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["good.png", "pixel.png"]
    assert f"2 of {len(lines) + 2} images labelled, {len(lines)} failed: {tmp_path / 'out'}/" in done.stdout


def test_a_full_disk_stops_at_once_and_leaves_no_partial_file(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "in", *(f"{index}.png" for index in range(8)))

    def write(self: Image.Image, file: object, *_: object, **__: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", write)
    with pytest.raises(WriteError, match=r"\.png: cannot be written \(No space left on device\)"):
        run(ckpt, tmp_path / "in", tmp_path / "out", "overlays=false")
    assert set(stamps(tmp_path / "out")) == {"predict.json"}


def test_images_side_by_side_and_large_ones_alone_have_the_same_labels(
    ckpt: Path, module: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = pictures(tmp_path / "in", *(f"{index}.png" for index in range(6)))
    monkeypatch.setattr("src.prediction.predict.LARGE", arrays[3].shape[0] * arrays[3].shape[1])
    used: dict[int, tuple[bool, int]] = {}  # by the height of the image: whether it was alone, and on how many cores
    scores, main = Predictor.scores, threading.current_thread()

    def record(self: Predictor, pixels: np.ndarray) -> torch.Tensor:
        used[len(pixels)] = (threading.current_thread() is main, torch.get_num_threads())
        return scores(self, pixels)

    monkeypatch.setattr(Predictor, "scores", record)
    torch.set_num_threads(2)
    try:
        assert run(ckpt, tmp_path / "in", tmp_path / "out", "crf=none", "overlays=false") == []
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(1)
    assert used == {len(array): ((True, 2) if index > 3 else (False, 1)) for index, array in enumerate(arrays)}
    assert later == [2]
    for index, array in enumerate(arrays):
        label = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{index}.png"))
        assert (label == expected_label(module, array, crf=False)).mean() > 0.999


def test_real_photographs(ckpt: Path, module: Segmenter, voc_mini: Path, camvid: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for path in [*(voc_mini / "JPEGImages").iterdir(), *sorted((camvid / "val").iterdir())[:2]]:
        shutil.copy(path, tmp_path / "in")
    assert run(ckpt, f"{tmp_path / 'in'}/*.jpg", tmp_path / "out", "crf=none", "overlays=false") == []
    for path in (tmp_path / "in").iterdir():
        label = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{path.stem}.png"))
        expected = expected_label(module, np.asarray(Image.open(path).convert("RGB")), crf=False)
        assert (label == expected).mean() > 0.999


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["input=null"], "input=FILE, FOLDER or PATTERN is needed"),
        (["input=/nowhere"], "input=/nowhere: no such file or folder"),
        (["masks=false", "overlays=false"], "nothing to save"),
        (["ckpt=null"], "ckpt=CKPT is needed"),
    ],
)
def test_wrong_arguments_are_named(ckpt: Path, overrides: list[str], said: str, tmp_path: Path) -> None:
    pictures(tmp_path / "in", "a.png")
    with pytest.raises(UserError, match=said):
        run(ckpt, tmp_path / "in", tmp_path / "out", *overrides)
    assert not (tmp_path / "out").exists()


def test_the_predictor_in_python(ckpt: Path, module: Segmenter, tmp_path: Path) -> None:
    (array,) = pictures(tmp_path, "a.png")
    predictor = Predictor(ckpt, accelerator="cpu", precision="32-true")
    assert predictor.classes == list(Shapes.classes)
    assert np.array_equal(predictor.palette, Shapes.palette)
    expected = expected_label(module, array, crf=False)
    for image in (array, str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(array)):
        label, q = predictor(image)
        assert np.array_equal(label, expected)
        assert (label.dtype, q) == (np.uint8, None)
    q = predictor(array, probabilities=True).probabilities
    np.testing.assert_allclose(q, probabilities(module, array).numpy(), atol=1e-5)
    threads = set(threading.enumerate())
    with Predictor(ckpt, crf=DenseCRF(**CRF), accelerator="cpu", precision="32-true") as refined:
        assert (refined(array).label == expected_label(module, array, crf=True)).mean() > 0.999
        assert (refined(array, probabilities=True).label == refined(array).label).mean() > 0.999
    assert [thread for thread in threading.enumerate() if thread not in threads and "dense-crf" in thread.name] == []
    mirrored = Predictor(ckpt, inference=Inference(flip=True), accelerator="cpu", precision="32-true")
    both = (probabilities(module, array) + probabilities(module, array[:, ::-1]).flip(-1)) / 2
    np.testing.assert_allclose(mirrored(array, probabilities=True).probabilities, both.numpy(), atol=1e-5)
    for wrong in (array.astype(np.float32), array[..., 0], array[:0]):
        with pytest.raises(UserError, match="give RGB"):
            predictor(wrong)


def test_precisions_and_accelerators(ckpt: Path, tmp_path: Path) -> None:
    (array,) = pictures(tmp_path, "a.png")
    exact = Predictor(ckpt, accelerator="cpu", precision="64-true").scores(array)
    tolerances = {"64": 0, "32": 1e-5, 32: 1e-5, None: 1e-5, "16-true": 1e-2, "bf16-true": 0.1, "bf16": 0.1, 16: 0.1}
    for name, tolerance in tolerances.items():
        scores = Predictor(ckpt, accelerator="cpu", precision=name).scores(array)
        difference = (scores - exact).abs().max() / exact.abs().max()
        assert scores.dtype == torch.float32
        assert difference <= tolerance
        assert tolerance < 1e-4 or difference > 0  # it was not computed in more digits
    with pytest.raises(UserError, match=r"^precision=8-true: must be one of auto, 64-true, .*, bf16$"):
        Predictor(ckpt, precision="8-true")
    with pytest.raises(UserError, match=r"^accelerator=abacus: must be auto, cpu, gpu, cuda or mps$"):
        Predictor(ckpt, accelerator="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"^accelerator=cuda: torch finds no such device here"):
            Predictor(ckpt, accelerator="cuda")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-true"])
def test_scores_do_not_depend_on_other_threads(ckpt: Path, precision: str, tmp_path: Path) -> None:
    arrays = pictures(tmp_path, *(f"{index}.png" for index in range(8)))
    predictor = Predictor(ckpt, accelerator="cpu", precision=precision)
    expected = [predictor.scores(array) for array in arrays]
    with ThreadPoolExecutor(4) as pool:
        assert all(map(torch.equal, pool.map(predictor.scores, arrays), expected))


def test_a_prediction_loads_no_more_than_it_needs() -> None:
    heavy = {"lightning", "src.training.segmenter", "torch._dynamo", "albumentations", "wandb", "matplotlib"}
    script = (
        "import sys, numpy; from src.predict import Predictor; "
        "Predictor('camvid_slim', accelerator='cpu')(numpy.zeros((9, 9, 3), numpy.uint8)); "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
