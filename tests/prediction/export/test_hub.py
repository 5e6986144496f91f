"""Folders for the Hugging Face hub: they load back to the bit, say what they hold, and are pushed when asked."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from src.cli.compose import compose
from src.data import CamVid, Shapes
from src.prediction.export import export
from src.prediction.export.formats import without_folders
from src.prediction.predictor import Predictor
from src.prediction.trained_network import load_network
from src.system import addresses
from src.system.addresses import HUB_FILE
from src.system.errors import UserError
from tests import checkpoints
from tests.checkpoints import write_checkpoint
from tests.commands import run_command
from tests.hub_server import serving_hub
from tests.models.networks import composed

pytest.importorskip("safetensors")

METRICS = {"val/miou": 0.5678, "val/miou_crf": 0.625, "val/pixel_accuracy": 0.88, "val/iou/sky": 0.9}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a run with a checkpoint, metrics and a picture; its paths are private."""
    folder = tmp_path / "run"
    for name in ("checkpoints", "pictures"):
        (folder / name).mkdir(parents=True)
    data = {"_target_": "src.data.CamVid", "_partial_": True, "root": "/home/jane/camvid", "cache": "/home/jane/cache"}
    write_checkpoint(folder / "checkpoints" / "best.ckpt", classes=CamVid.classes, palette=CamVid.palette, dataset=data)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    command = ["python -m src.train", "dataset=camvid", "head=largefov", "dataset.root=/home/jane/x", "+a=/home/jane/b"]
    (folder / "environment.json").write_text(json.dumps({"command": command}))
    Image.new("RGB", (8, 8)).save(folder / "pictures" / "best.png")
    return folder


def to_hub(ckpt: Path, output: Path, *overrides: str) -> Path:
    options = [f"ckpt={ckpt}", f"output={output}", f"paths.output_dir={output.parent}"]
    return export(composed("format=hub", *options, *overrides, name="export"))


def test_the_folder_loads_back_to_the_bit(run: Path, tmp_path: Path) -> None:
    folder = to_hub(run / "checkpoints" / "best.ckpt", tmp_path / "net")
    photo = Shapes("val", {"val": 1}, size=70)[0].image
    expected, found = (Predictor(ckpt)(photo, probabilities=True) for ckpt in (run / "checkpoints/best.ckpt", folder))
    assert np.array_equal(expected.label, found.label)
    assert np.array_equal(expected.probabilities, found.probabilities)


def test_the_card_has_metrics_classes_config_and_pictures(run: Path, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    folder = to_hub(run / "checkpoints" / "best.ckpt", tmp_path / "net", "license=cc-by-nc-4.0")
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors", "pictures.png"}
    card = hub.ModelCard.load(folder / "README.md")  # as the hub reads it
    assert (card.data.license, card.data.pipeline_tag) == ("cc-by-nc-4.0", "image-segmentation")
    values = {
        (result.dataset_name, result.dataset_split, result.metric_name): result.metric_value
        for result in card.data.eval_results
    }
    assert values == {
        ("CamVid", "val", "mean IoU, network"): 0.5678,
        ("CamVid", "val", "mean IoU, network + CRF"): 0.625,
        ("CamVid", "val", "pixel accuracy, network"): 0.88,
    }
    assert "| mean IoU | network + CRF | 62.5 |" in card.text
    assert "| 0 | sky | `#808080` |" in card.text
    assert "deeplab train dataset=camvid head=largefov\n" in card.text
    assert "![images, their labels and the predictions](pictures.png)" in card.text
    assert json.loads((folder / "config.json").read_text())["model"] == checkpoints.MODEL
    for path in folder.iterdir():
        assert b"jane" not in path.read_bytes(), path


def test_a_checkpoint_without_a_run(tmp_path: Path) -> None:
    """Nothing is known but the network; names of classes do not break the table."""
    names = ["a|b", "<b>", "c\nd", *Shapes.classes[3:]]
    write_checkpoint(tmp_path / "net.ckpt", classes=names)
    card = (to_hub(tmp_path / "net.ckpt", tmp_path / "hub") / "README.md").read_text()
    assert "| 0 | a\\|b |" in card
    assert "| 1 | \\<b\\> |" in card
    assert "| 2 | c d |" in card
    assert "Not measured." in card
    assert "Not stated yet" in card
    header = yaml.safe_load(card.split("---\n")[1])
    assert header.keys() == {"library_name", "pipeline_tag", "tags"}


def test_metrics_are_of_the_best_checkpoint_only(run: Path, tmp_path: Path) -> None:
    (run / "checkpoints" / "best.ckpt").rename(run / "checkpoints" / "last.ckpt")
    folder = to_hub(run / "checkpoints" / "last.ckpt", tmp_path / "net")
    assert "Not measured." in (folder / "README.md").read_text()
    assert not (folder / "pictures.png").exists()


def test_a_folder_is_replaced_only_with_overwrite_and_if_it_is_ours(run: Path, tmp_path: Path) -> None:
    ckpt, folder = run / "checkpoints" / "best.ckpt", tmp_path / "net"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    for overrides in ([], ["overwrite=true"]):
        with pytest.raises(UserError, match=r"net: holds files already; name another folder"):
            to_hub(ckpt, folder, *overrides)
    (folder / "mine.txt").unlink()
    to_hub(ckpt, folder)
    with pytest.raises(UserError, match="holds files already"):
        to_hub(ckpt, folder)
    (folder / ".git").mkdir()  # a clone of a repository of the hub, with notes in it
    (folder / ".git" / "HEAD").write_text("ref")
    (folder / "notes.txt").write_text("notes")
    names = {path.name for path in folder.iterdir()}
    (folder / "README.md").write_text("old")
    to_hub(ckpt, folder, "overwrite=true")
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "README.md").read_text() != "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net", "run"]  # nothing temporary


def test_the_working_folder_and_those_around_it_can_be_written_to(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "net" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "net" / HUB_FILE).write_text("old")
    monkeypatch.chdir(inner)
    to_hub(run / "checkpoints" / "best.ckpt", Path("."))
    to_hub(run / "checkpoints" / "best.ckpt", Path(".."), "overwrite=true")
    assert inner.is_dir()
    states = [load_network(folder).state_dict() for folder in (inner, tmp_path / "net")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_failure_leaves_the_folder_as_it_was(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.prediction.export.hub.check_folder", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        to_hub(run / "checkpoints" / "best.ckpt", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / HUB_FILE).write_text("old")
    with pytest.raises(ZeroDivisionError):
        to_hub(run / "checkpoints" / "best.ckpt", tmp_path / "old", "overwrite=true")
    assert [path.name for path in (tmp_path / "old").iterdir()] == [HUB_FILE]
    assert (tmp_path / "old" / HUB_FILE).read_text() == "old"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["format=hub", "push=name"], "push=name: must be OWNER/NAME"),
        (["format=onnx", "push=owner/name"], "push=owner/name: needs format=hub"),
        (["format=checkpoint", "license=mit"], "license=mit: needs format=hub"),
        (["format=hub", "returns=labels"], "returns=labels: format=hub holds weights, not a graph"),
    ],
)
def test_wrong_options(overrides: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{said}"):
        export(composed("ckpt=x", f"paths.output_dir={tmp_path}", *overrides, name="export"))


def test_missing_packages_and_a_missing_token(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ckpt = run / "checkpoints" / "best.ckpt"
    folder = to_hub(ckpt, tmp_path / "net")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError, match="there is no token of the hub; run hf auth login, or set HF_TOKEN"):
        to_hub(ckpt, tmp_path / "other", "push=owner/net")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UserError, match=r'model.safetensors: needs safetensors: pip install "deeplab-v1\[hub\]"'):
        Predictor(folder)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"\xff" * 40])
def test_damaged_safetensors(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model.safetensors: (cannot be read as safetensors|holds no network)"):
        Predictor(tmp_path)


def test_a_training_does_not_resume_an_address(tmp_path: Path) -> None:
    for ckpt in ("https://host/best.ckpt", "hf://owner/net", "net/model.safetensors"):
        with pytest.raises(UserError, match=f"^ckpt={ckpt}: has no run to resume; train it further with init_from="):
            compose("train", f"ckpt={ckpt}", output_dir=tmp_path / "run")


def test_every_command_takes_an_address(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fetched after everything else has been checked."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(addresses, "fetch_address", None)  # what is composed calls the name that it has imported
    asked = []
    fetched = tmp_path / "net.ckpt"
    monkeypatch.setattr("src.runs.checkpoints.fetch_address", lambda address: asked.append(address) or fetched)
    for command in ("predict", "evaluate", "export", "tune_crf"):
        config = compose(command, "ckpt=s3://shelf/best.ckpt", output_dir=tmp_path / command)
        assert config.ckpt == str(fetched)
    config = compose("train", "init_from=s3://shelf/best.ckpt", output_dir=tmp_path / "train")
    assert config.init_from == str(fetched)
    assert asked == ["s3://shelf/best.ckpt"] * 5
    with pytest.raises(UserError, match="trimap"):
        compose("evaluate", "ckpt=s3://shelf/best.ckpt", "trimap=0", output_dir=tmp_path / "wrong")
    assert len(asked) == 5


def test_init_from_takes_a_folder(run: Path, tmp_path: Path) -> None:
    folder = to_hub(run / "checkpoints" / "best.ckpt", tmp_path / "net")
    config = compose("train", f"init_from={folder}", output_dir=tmp_path / "train")
    assert config.init_from == str(folder / "model.safetensors")


def forget_hub() -> None:
    """Let the process import huggingface_hub again, which reads its variables then."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]


def test_pushed_and_loaded_from_the_hub(run: Path, tmp_path: Path) -> None:
    """Against a stand-in; the pictures of the network that comes back are those of the one that was pushed."""
    pytest.importorskip("huggingface_hub")
    Image.fromarray(Shapes("val", {"val": 1}, size=50)[0].image).save(tmp_path / "photo.png")
    common = [f"paths.log_dir={tmp_path / 'logs'}"]
    with serving_hub() as hub:
        environment = {**hub.environment, "TORCH_HOME": str(tmp_path / "torch")}
        ckpt, folder = run / "checkpoints" / "best.ckpt", tmp_path / "net"
        arguments = [f"ckpt={ckpt}", "format=hub", f"output={folder}", "push=owner/net", *common]
        done = run_command("export", *arguments, environment=environment, before=forget_hub)
        assert done.returncode == 0, done.stderr
        assert f"pushed to {hub.url}/owner/net" in done.stdout
        assert hub.private == {"owner/net": True}
        assert hub.repositories["owner/net"] == {path.name: path.read_bytes() for path in folder.iterdir()}
        for name, source in {"local": str(ckpt), "hub": "hf://owner/net"}.items():
            options = [f"ckpt={source}", f"input={tmp_path / 'photo.png'}", f"output={tmp_path / name}", *common]
            done = run_command("predict", *options, "probabilities=true", environment=environment, before=forget_hub)
            assert done.returncode == 0, done.stderr
        local, remote = (np.load(tmp_path / name / "probabilities" / "photo.npz") for name in ("local", "hub"))
        assert np.array_equal(local["probabilities"], remote["probabilities"])
        done = run_command("export", "ckpt=hf://owner/absent", *common, environment=environment, before=forget_hub)
        assert (done.returncode, done.stderr) == (2, "error: ckpt=hf://owner/absent: no such file\n")
        done = run_command(
            "export",
            *arguments,
            "overwrite=true",
            environment={**environment, "HF_TOKEN": "hf_wrong"},
            before=forget_hub,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: push=owner/net: ")
        assert len(done.stderr.splitlines()) == 1
        assert f"The folder {folder} is complete" in done.stderr
        logs = [path.read_text() for path in (tmp_path / "logs").rglob("export.log")]
        assert sum(f"pushing {folder} to owner/net" in text for text in logs) == 2  # the refused one keeps its record


def test_absolute_paths_become_names() -> None:
    parts = {"weights": "/home/jane/vgg.pth", "images": "train/images", "more": ["~/x/y.h5", 3, None]}
    assert without_folders(parts) == {"weights": "vgg.pth", "images": "train/images", "more": ["y.h5", 3, None]}
