"""Loading checkpoints: which are refused, and that no code in one is run."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from src.models.weights.torch_file import read_state
from src.prediction.trained_network import load_network
from src.system.errors import UserError
from tests.checkpoints import SHAPES, write_checkpoint


def test_the_network_comes_back(tmp_path: Path) -> None:
    module = write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    loaded = load_network(str(tmp_path / "net.ckpt"))
    image = torch.randint(0, 256, (1, 3, 33, 50), dtype=torch.uint8)
    assert torch.equal(loaded.model(image), module(image))
    assert not loaded.model.training
    assert (loaded.classes, loaded.palette.tolist()) == (module.classes, module.palette.tolist())
    assert loaded.state_dict().keys() == module.state_dict().keys()
    assert loaded.hparams["dataset"] == SHAPES


@pytest.mark.parametrize(
    "target", ["os.system", "src.runs.provenance.subprocess.run", "src.data.dataset.Path", "torch.load"]
)
@pytest.mark.parametrize("part", ["model", "loss", "dataset"])
def test_nothing_but_our_own_classes_is_called(target: str, part: str, tmp_path: Path) -> None:
    module = write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    parts: dict[str, Any] = {**module.hparams, part: {"nested": [{"_target_": target, "args": "touch /tmp/owned"}]}}
    torch.save({"hyper_parameters": parts, "state_dict": {}}, tmp_path / "net.ckpt")
    with pytest.raises(UserError, match=f"names {target}, which is not a class of"):
        load_network(str(tmp_path / "net.ckpt"))


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    for said, content in {
        "cannot be read as weights": b"no such thing",
        "cannot be read as weights ": b"",
        "holds no network to rebuild": {"state_dict": {}},
    }.items():
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(UserError, match=said.strip()) as caught:
            load_network(str(path))
        line = str(caught.value)
        assert line.startswith(f"ckpt={path}: ")
        assert line.endswith("; give the best.ckpt or last.ckpt of a run")
    for given, said in ((None, "ckpt=CKPT is needed"), ("/nowhere.ckpt", "no such file")):
        with pytest.raises(UserError, match=said):
            load_network(given)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"\x89PNG\r\n\x1a\n0123456789", "it was not written by torch.save"),
        (
            torch.nn.Conv2d(1, 1, 1),
            r"it holds torch\.nn\.modules\.conv\.Conv2d, .*; save the network's state_dict\(\) alone",
        ),
        (Path("a"), r"it holds pathlib\.\w+, .* is not loaded"),
    ],
)
def test_nobody_is_told_to_run_the_code_of_a_file(content: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=rf"cannot be read as weights \({reason}") as caught:
        read_state(path)
    assert "weights_only" not in str(caught.value)


def test_a_zip_archive_and_a_cut_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes/a.txt", "no tensor")
    with pytest.raises(UserError, match=r"\(a zip archive, but not one of torch\.save\)$"):
        read_state(path)
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"\(the end of the file is missing; copy it again\)$"):
        read_state(path)


def test_a_folder_without_a_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^ckpt={tmp_path}: a folder that holds no model\.safetensors, and no"):
        load_network(tmp_path)


def test_a_torn_file_and_other_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    module = write_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_network(str(path))
    torch.save({"hyper_parameters": dict(module.hparams), "state_dict": {"model.x": torch.zeros(1)}}, path)
    with pytest.raises(
        UserError, match=r"does not fit this version of the code \(Missing key\(s\) in state_dict: \"model"
    ):
        load_network(str(path))
