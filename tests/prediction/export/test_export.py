"""Exported files give PyTorch's scores and labels, at sizes that the export itself did not try."""

import json
import os
import re
import zipfile
from importlib import import_module
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from src.cli.compose import compose
from src.data import CamVid, Shapes
from src.models.geometry import predict_labels, upsample_scores
from src.prediction.export import export
from src.prediction.export.export import compare_scores
from src.prediction.export.formats import FORMATS
from src.prediction.trained_network import build_dataset, load_network
from src.system.errors import UserError
from src.training.segmenter import Segmenter
from tests import checkpoints
from tests.checkpoints import write_checkpoint
from tests.commands import run_command
from tests.conftest import REPO
from tests.models.networks import composed

SIZES = [(1, 3, 33, 50), (2, 3, 64, 57), (1, 3, 9, 90), (1, 3, 2, 2), (1, 3, 161, 130)]
MSC = {"_target_": "src.models.MSc", "_partial_": True, "trunk": checkpoints.MODEL["head"], "channels": 8}
TUTORIAL = {"_target_": "src.models.FullResolutionHead", "_partial_": True, "width": 0.0625}


@pytest.fixture(autouse=True)
def no_checks_of_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable shape checks: they would become part of the graph, in which sizes are symbols."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def run(ckpt: Path, folder: Path, *overrides: str) -> Path:
    return export(composed(f"ckpt={ckpt}", f"paths.output_dir={folder}", *overrides, name="export"))


def scores(module: Segmenter, image: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return upsample_scores(module.model(image), image.shape[-2:]).numpy()


def loaded(path: Path):
    """Load a file as its users do, without code of this project."""
    if path.suffix == ".onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda image: session.run(None, {"image": image.numpy()})[0]
    module = torch.jit.load(path) if path.suffix == ".pt" else torch.export.load(path).module()
    return lambda image: module(image).detach().numpy()


def class_names(path: Path) -> dict[str, list]:
    """Return the class names stored in a file."""
    found = {"classes": "", "palette": ""}
    if path.suffix == ".onnx":
        found = {entry.key: entry.value for entry in pytest.importorskip("onnx").load(path).metadata_props}
    elif path.suffix == ".pt":
        torch.jit.load(path, _extra_files=found)
    else:
        torch.export.load(path, extra_files=found)
    return {key: json.loads(value) for key, value in found.items()}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("format_", "dtype"),
    [
        ("onnx", "uint8"),
        ("torchscript", "float32"),
        ("pt2", "uint8"),
        pytest.param("onnx", "float32", marks=SLOW),
        pytest.param("torchscript", "uint8", marks=SLOW),
        pytest.param("pt2", "float32", marks=SLOW),
    ],
)
def test_scores_at_any_size_and_class_names(format_: str, dtype: str, tmp_path: Path) -> None:
    if format_ == "onnx":
        pytest.importorskip("onnxscript")
    module = write_checkpoint(tmp_path / "net.ckpt")
    path = run(tmp_path / "net.ckpt", tmp_path, f"format={format_}", f"input={dtype}")
    assert path == tmp_path / f"network{FORMATS[format_].ending}"
    assert class_names(path) == {"classes": list(Shapes.classes), "palette": Shapes.palette.tolist()}
    network = loaded(path)
    for shape in SIZES:
        image = torch.randint(0, 256, shape, dtype=torch.uint8)
        expected = scores(module, image)
        np.testing.assert_allclose(network(image.to(getattr(torch, dtype))), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("format_", ["torchscript", pytest.param("pt2", marks=SLOW)])
def test_labels_at_any_size(format_: str, tmp_path: Path) -> None:
    module = write_checkpoint(tmp_path / "net.ckpt")
    check_labels(run(tmp_path / "net.ckpt", tmp_path, f"format={format_}", "returns=labels"), module)


def check_labels(path: Path, module: Segmenter) -> None:
    """Compare the labels of a file with PyTorch's at sizes that the export did not try."""
    network = loaded(path)
    for shape in SIZES:
        image = torch.randint(0, 256, shape, dtype=torch.uint8)
        labels = network(image)
        assert (labels.dtype, labels.shape) == (np.uint8, (shape[0], *shape[2:]))
        with torch.no_grad():
            expected = predict_labels(module.model(image), shape[2:]).numpy()
        assert (labels != expected).mean() < 1e-3  # rounding may decide where two classes are almost equal


@pytest.mark.parametrize("format_", ["onnx", pytest.param("torchscript", marks=SLOW)])
def test_of_equal_classes_the_first_is_the_label(format_: str, tmp_path: Path) -> None:
    """All pixels have the scores 1, 2, 2, 2, 0, 0, 0: the label is 1."""
    if format_ == "onnx":
        pytest.importorskip("onnxscript")
    module = checkpoints.segmenter()
    torch.nn.init.zeros_(module.model.head.classifier.weight)
    module.model.head.classifier.bias.data = torch.tensor([1.0, 2, 2, 2, 0, 0, 0])
    torch.save({"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict()}, tmp_path / "net.ckpt")
    path = run(tmp_path / "net.ckpt", tmp_path, f"format={format_}", "returns=labels")
    assert set(np.unique(loaded(path)(torch.zeros(1, 3, 30, 50, dtype=torch.uint8)))) == {1}


def test_other_labels_than_those_of_pytorch_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "net.ckpt")
    last_of_all = FORMATS["torchscript"]._replace(load=lambda path: lambda image: image[:, 0] * 0 + 1)
    monkeypatch.setitem(FORMATS, "torchscript", last_of_all)
    with pytest.raises(UserError, match="the file's labels differ from PyTorch's"):
        run(tmp_path / "net.ckpt", tmp_path, "format=torchscript", "returns=labels")
    too_wide = last_of_all._replace(load=lambda path: lambda image: image[:, 0].long())
    monkeypatch.setitem(FORMATS, "torchscript", too_wide)
    with pytest.raises(UserError, match="the file's labels differ from PyTorch's, by inf"):
        run(tmp_path / "net.ckpt", tmp_path, "format=torchscript", "returns=labels")


def test_more_classes_than_a_byte_has_are_refused(tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(256)]
    write_checkpoint(tmp_path / "net.ckpt", classes=names, palette=[[0, 0, 0]] * 256)
    with pytest.raises(UserError, match="labels are uint8, for 255 classes at most; the checkpoint has 256"):
        run(tmp_path / "net.ckpt", tmp_path, "format=torchscript", "returns=labels")


def test_output_labels_is_short_for_returns_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a folder has that name, as after predict output=labels."""
    write_checkpoint(tmp_path / "net.ckpt")
    monkeypatch.chdir(tmp_path)
    Path("labels").mkdir()
    config = compose("export", "ckpt=net.ckpt", "format=torchscript", "output=labels", output_dir=tmp_path / "run")
    assert export(config) == tmp_path / "run" / "network.pt"
    assert loaded(tmp_path / "run" / "network.pt")(torch.zeros(1, 3, 9, 9, dtype=torch.uint8)).shape == (1, 9, 9)


def test_onnx_labels_and_the_documented_program_that_colours_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program has the ONNX file alone; every pixel has the colour of its class."""
    pytest.importorskip("onnxscript")
    module = write_checkpoint(tmp_path / "net.ckpt")
    path = run(tmp_path / "net.ckpt", tmp_path, f"output={tmp_path / 'network.onnx'}", "returns=labels")
    assert class_names(path) == {"classes": list(Shapes.classes), "palette": Shapes.palette.tolist()}
    check_labels(path, module)
    pixels = Shapes("val", {"val": 1}, size=70)[0].image
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    (program,) = (
        code
        for code in re.findall(r"```python\n(.*?)```", (REPO / "docs/prediction.md").read_text(), re.DOTALL)
        if "onnxruntime" in code
    )
    monkeypatch.chdir(tmp_path)
    os.rename("photo.png", "photo.jpg")  # Pillow looks at the content
    exec(program, {})
    with torch.no_grad():
        scores = module.model(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    label = predict_labels(scores, pixels.shape[:2])[0].numpy()
    picture = np.asarray(Image.open("labels.png"))
    assert (picture != Shapes.palette[label]).any(2).mean() < 1e-3


@pytest.mark.parametrize("format_", [pytest.param("onnx", marks=SLOW), "torchscript", pytest.param("pt2", marks=SLOW)])
@pytest.mark.parametrize("head", [MSC, TUTORIAL], ids=["msc", "tutorial"])
def test_heads_at_full_resolution(format_: str, head: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if format_ == "onnx":
        pytest.importorskip("onnxscript")
    monkeypatch.setitem(checkpoints.MODEL, "head", head)
    module = write_checkpoint(tmp_path / "net.ckpt")
    network = loaded(run(tmp_path / "net.ckpt", tmp_path, f"format={format_}"))
    for shape in SIZES[:3]:
        image = torch.randint(0, 256, shape, dtype=torch.uint8)
        np.testing.assert_allclose(network(image), scores(module, image), rtol=1e-3, atol=1e-3)


def test_a_file_with_different_scores_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "net.ckpt")
    torchscript = FORMATS["torchscript"]

    def spoilt(_: Segmenter, *arguments: object) -> None:
        other = checkpoints.segmenter()
        torch.nn.init.ones_(other.model.head.classifier.bias)
        torchscript.write(other, *arguments)

    monkeypatch.setitem(FORMATS, "torchscript", torchscript._replace(write=spoilt))
    with pytest.raises(UserError, match="differ from PyTorch's"):
        run(tmp_path / "net.ckpt", tmp_path, "format=torchscript")
    assert [path.name for path in tmp_path.iterdir()] == ["net.ckpt"]


def test_a_small_checkpoint_has_16_bits_no_folders_and_loads_without_code(tmp_path: Path) -> None:
    data = {"_target_": "src.data.CamVid", "_partial_": True, "root": "/home/me/camvid", "cache": "/home/me/cache"}
    module = write_checkpoint(tmp_path / "net.ckpt", classes=CamVid.classes, palette=CamVid.palette, dataset=data)
    path = run(tmp_path / "net.ckpt", tmp_path, "format=checkpoint", f"output={tmp_path / 'small.ckpt'}")
    content = torch.load(path, weights_only=True)
    assert b"/home/me" not in path.read_bytes()
    weights = {name for name, weight in module.named_parameters() if weight.ndim > 1}
    assert weights
    assert {name for name, value in content["state_dict"].items() if value.dtype == torch.float16} == weights
    loaded = load_network(path)
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}
    assert (loaded.classes, loaded.palette.tolist()) == (module.classes, module.palette.tolist())
    for name, weight in module.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], weight, rtol=2**-11, atol=1e-7)
    with pytest.raises(UserError, match=r"dataset.root=FOLDER is needed"):
        build_dataset(loaded.hparams, OmegaConf.create({"root": None}), "val")


def test_files_are_overwritten_only_with_overwrite(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt")
    target = tmp_path / "mine.pt"
    target.write_bytes(b"mine")
    with pytest.raises(UserError, match="already exists"):
        run(tmp_path / "net.ckpt", tmp_path, "format=torchscript", f"output={target}")
    assert target.read_bytes() == b"mine"
    assert run(tmp_path / "net.ckpt", tmp_path, "format=torchscript", f"output={target}", "overwrite=true") == target
    assert zipfile.is_zipfile(target)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["format=tflite"], "format=tflite: must be one of onnx, torchscript, pt2, checkpoint"),
        (["input=int8"], "input=int8: must be uint8 or float32"),
        (["output=/tmp"], "output=/tmp: is a folder"),
        (["returns=masks"], "returns=masks: must be scores or labels"),
        (
            ["returns=labels", "format=checkpoint"],
            "format=checkpoint holds weights, not a graph; choose format=onnx or",
        ),
    ],
)
def test_wrong_arguments_are_named(overrides: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        run(tmp_path / "net.ckpt", tmp_path, *overrides)


def hide_onnx() -> None:
    module = import_module("src.prediction.export.export")  # the package's `export` is the function
    find = module.find_spec
    module.find_spec = lambda name: None if name.startswith("onnx") else find(name)


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    """As for a user who installed the project without extras."""
    (tmp_path / "some.ckpt").touch()  # is looked for first
    done = run_command("export", f"ckpt={tmp_path / 'some.ckpt'}", f"paths.log_dir={tmp_path}", before=hide_onnx)
    assert done.returncode == 2
    assert done.stderr == ('error: format=onnx needs onnx, onnxscript, onnxruntime: pip install "deeplab-v1[export]"\n')


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("form", ["torchscript", "pt2", "checkpoint"])
def test_a_full_disk_is_an_error_and_does_not_end_the_process(form: str) -> None:
    with pytest.raises(OSError, match="No space left"):
        FORMATS[form].write(checkpoints.segmenter(), "scores", torch.zeros(1, 3, 33, 41), Path("/dev/full"))


@pytest.mark.parametrize(
    ("exported", "difference"),
    [
        (lambda image: torch.ones(len(image), 3, 5, 4), 0),
        (lambda image: torch.full((len(image), 3, 5, 4), 1.5), 0.5),
        (lambda image: torch.ones(len(image), 3, 1, 1), float("inf")),  # would broadcast
        (lambda image: torch.ones(len(image), 3, 5, 4, dtype=torch.float64), float("inf")),
    ],
)
def test_exported_scores_have_the_shape_and_type_of_the_networks(exported, difference: float) -> None:
    def network(image: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(image), 3, 5, 4)

    assert compare_scores(network, exported, "uint8") == difference
