"""Paths with ~ and environment variables, in all places where a user may give one."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from src.cli.compose import compose
from src.cli.resolvers import register_resolvers
from src.data import Folder
from src.data.checks import check_splits
from src.prediction.inputs import find_images
from src.prediction.predictor import Predictor
from tests.checkpoints import write_checkpoint
from tests.commands import run_command


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder with data/, a data set of four images, and net.ckpt."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    for sub in ("images", "masks"):
        (tmp_path / "data" / sub).mkdir(parents=True)
    for index in range(4):
        Image.new("RGB", (9, 9), (index, 0, 0)).save(tmp_path / "data" / "images" / f"{index}.png")
        Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "data" / "masks" / f"{index}.png")
    write_checkpoint(tmp_path / "net.ckpt")
    return tmp_path


@pytest.mark.parametrize("value", [{"more": 1}, 3, None, ["a"], ""])
def test_a_folder_of_logs_that_is_no_text(value: object) -> None:
    register_resolvers()
    config = OmegaConf.create({"paths": {"log_dir": value}, "folder": "${log_folder:${paths.log_dir}}/train"})
    with pytest.raises(OmegaConfBaseException, match=r"paths.log_dir=.*: must be the path of a folder"):
        _ = config.folder


@pytest.mark.parametrize("root", ["~/data", "$DATA", "${DATA}"])
def test_paths_given_in_python(home: Path, root: str) -> None:
    splits = {split: Folder(root, split, ["a", "b"], cache=f"{root}/cache") for split in ("train", "val")}
    check_splits(splits, 0)
    splits["val"].open_cache()
    assert len(list((home / "data" / "cache").glob("*.pack"))) == 1
    assert len(find_images(f"{root}/images")[1]) == len(find_images(f"{root}/images/*.png")[1]) == 4
    assert Predictor("~/net.ckpt", accelerator="cpu").classes


def test_paths_given_in_a_config(home: Path) -> None:
    keys = {
        "train": ("init_from", "backbone.weights", "paths.data_dir", "paths.log_dir", "dataset.root", "dataset.cache"),
        "predict": ("ckpt", "input", "output"),
        "prepare": ("downloads",),
        "tune_crf": ("cache",),
    }
    written = ("paths.log_dir", "output", "cache")
    for command, names in keys.items():
        choices = [] if command != "train" else ["dataset=folder", "dataset.classes=[a,b]"]
        files = {name: "made" if name in written else "net.ckpt" for name in names}
        overrides = [f'{name}="~/{file}"' for name, file in files.items()]
        config = compose(command, *choices, *overrides, output_dir=home / "out")
        for name, file in files.items():
            group, _, key = name.rpartition(".")
            assert (config[group] if group else config)[key] == str(home / file), name


def test_the_folder_of_a_callback(home: Path) -> None:
    """Also of one of the user's own, whose keys no list can know."""
    mine = "+callbacks.mine={_target_:mine.Callback,folder:$DATA/mine,path:[1]}"
    config = compose("train", "callbacks.pictures.folder=$DATA/pictures", mine, output_dir=home / "out")
    assert config.callbacks.pictures.folder == f"{home}/data/pictures"
    assert config.callbacks.mine.folder == f"{home}/data/mine"


def test_names_are_no_relative_paths(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hydra.job.chdir=true, relative paths start where the command was started."""
    monkeypatch.chdir(home)
    own = "hydra.job.chdir=true"
    training = compose("train", "backbone.weights=caffe", "init_from=net.ckpt", own, output_dir=home / "out")
    assert (training.backbone.weights, training.init_from) == ("caffe", f"{home}/net.ckpt")
    export = compose("export", "ckpt=camvid_slim", "output=labels", own, output_dir=home / "out")
    assert (export.input, export.returns, export.output) == ("uint8", "labels", None)
    assert Path(export.ckpt).is_file()


def test_paths_given_to_a_command(home: Path) -> None:
    arguments = ["ckpt=$HOME/net.ckpt", "input=$DATA/images", 'output="~/out"', 'paths.log_dir="~/logs"', "crf=none"]
    done = run_command("predict", *arguments, "accelerator=cpu", folder=home)
    assert done.returncode == 0, done.stderr
    assert len(list((home / "out" / "masks").iterdir())) == 4
    assert (home / "logs" / "predict").is_dir()
    assert not (home / "~").exists()


def test_a_variable_in_the_braces_of_a_config(home: Path) -> None:
    done = run_command("predict", "ckpt=$HOME/net.ckpt", "input=${DATA}/images", f"paths.log_dir={home}")
    assert done.stderr == (
        "error: input=${DATA}/images: Interpolation key 'DATA' not found; the environment's variable is $DATA\n"
    )
