"""The trained networks that come with the package."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from src.cli.compose import compose
from src.data import CamVid
from src.models.weights.pretrained import load_trained
from src.predict import Predictor
from src.runs import networks
from src.runs.networks import find_network, network_names
from src.system.errors import UserError
from tests.models.networks import composed


@pytest.mark.parametrize("name", network_names())
def test_each_is_small_and_has_a_card(name: str) -> None:
    path = find_network(name)
    assert path is not None
    assert path.stat().st_size < 4_000_000
    card = path.with_suffix(".md").read_text()
    for heading in ("Data", "Licence", "Figures", "Use"):
        assert f"## {heading}" in card
    assert not any(key in repr(torch.load(path, weights_only=True)["hyper_parameters"]) for key in ("/work", "/home"))


def test_predictor_takes_the_name() -> None:
    predictor = Predictor("camvid_slim", accelerator="cpu", precision="32-true")
    assert predictor.classes == list(CamVid.classes)
    image = torch.zeros(33, 41, 3, dtype=torch.uint8).numpy()
    assert predictor(image).label.shape == (33, 41)


@pytest.mark.parametrize("command", ["predict", "evaluate", "export", "tune_crf"])
def test_commands_take_the_name(command: str, tmp_path: Path) -> None:
    config = compose(command, "ckpt=camvid_slim", output_dir=tmp_path)
    assert config.ckpt == str(find_network("camvid_slim"))


def test_a_training_begins_with_its_weights_and_cannot_resume_it(tmp_path: Path) -> None:
    config = compose("train", "init_from=camvid_slim", output_dir=tmp_path)
    assert config.init_from == str(networks.FOLDER / "camvid_slim.ckpt")
    with pytest.raises(UserError, match=r"ckpt=camvid_slim: has no run to resume.*init_from=camvid_slim"):
        compose("train", "ckpt=camvid_slim", output_dir=tmp_path)


@pytest.mark.parametrize("name", network_names())
def test_its_weights_fit_the_network_of_its_recipe(name: str) -> None:
    model = instantiate(composed(f"experiment={name}").model, num_classes=len(CamVid.classes))
    path = find_network(name)
    assert load_trained(model, str(path)) == f"network from {path}"
    assert model.backbone.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


def test_an_unknown_name_lists_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"camvid_slom: no such file.*camvid_slim"):
        Predictor("camvid_slom")
    with pytest.raises(UserError, match=r"ckpt=camvid_slom: no such file.*camvid_slim"):
        compose("evaluate", "ckpt=camvid_slom", output_dir=tmp_path)
