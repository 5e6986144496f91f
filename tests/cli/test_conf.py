"""Every YAML file composes, and every ``_target_`` in it is built."""

import copy
import functools
from itertools import zip_longest
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.cli.config.rules_by_key import RULES, RULES_OF_COMMANDS
from src.cli.config.structure import check_structure
from src.cli.config.values import check_values
from src.cli.resolvers import register_resolvers
from src.system.dotted_keys import walk
from src.system.errors import UserError
from tests.conftest import REPO
from tests.torchvision import import_timm

CONF = REPO / "conf"
COMMANDS = sorted(path.stem for path in CONF.glob("[!_]*.yaml"))


def groups(command: str) -> set[str]:
    """Return the groups that a command lets a user choose from."""
    entries = [entry for entry in OmegaConf.load(CONF / f"{command}.yaml").defaults if entry != "_self_"]
    names = {str(group).removeprefix("optional ") for entry in entries for group in entry}
    return names - {"hydra", "paths", "release"}


RECIPES = {"experiment", "sweep", "debug"}  # their choices set other groups


def choices_at_once(command: str) -> list[tuple[str, ...]]:
    """Return lists of choices that cover all: each recipe alone, and one choice of every other group at a time."""
    names = sorted(groups(command))
    choices = {name: [f"{name}={path.stem}" for path in sorted((CONF / name).glob("[!_]*.yaml"))] for name in names}
    alone = [(choice,) for name in names if name in RECIPES for choice in choices.pop(name)]
    return alone + [tuple(filter(None, row)) for row in zip_longest(*choices.values())]


CHOICES = [(command, choices) for command in COMMANDS for choices in choices_at_once(command)]


def compose(*overrides: str, command: str = "train") -> DictConfig:
    config = copy.deepcopy(compose_once(command, overrides))
    HydraConfig.instance().set_config(config)
    return config


@functools.cache
def compose_once(command: str, overrides: tuple[str, ...]) -> DictConfig:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(command, [*overrides, "hydra.runtime.output_dir=/tmp"], return_hydra_config=True)


def test_every_key_with_a_rule_is_in_a_config():
    choices = {"train": ("dataset=folder", "callbacks=early_stopping", "scheduler=step")}
    configs = [compose(*chosen, command=command) for command in COMMANDS for chosen in ((), choices.get(command, ()))]
    keys = {key for config in configs for key, _ in walk(OmegaConf.to_container(config))}
    of_torch = {"scheduler.T_max", "scheduler.T_0", "scheduler.total_steps", "scheduler.eta_min"}  # in no YAML of ours
    assert {key for key in RULES if "*" not in key} - keys == of_torch


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_with_a_rule_of_a_command_is_at_its_top_level(command):
    choices = {"tune_crf": ["search=optuna"]}.get(command, [])
    assert RULES_OF_COMMANDS.get(command, {}).keys() <= set(compose(*choices, command=command))


def test_a_command_of_your_own_may_use_the_keys_of_others():
    config = OmegaConf.create({"command": "mine", "size": 0.5, "images": "all", "port": None})
    check_values(config, config, [])
    assert set(RULES_OF_COMMANDS) <= set(COMMANDS)


def test_every_group_belongs_to_a_command():
    folders = {path.parent.name for path in CONF.glob("*/[!_]*.yaml")} - {"hydra", "paths", "release"}
    assert folders == set.union(*map(groups, COMMANDS))


def check_that_all_is_built(config: DictConfig) -> None:
    """Build network, optimiser, schedule, loss, augmentation and CRF as they are configured."""
    from src.models import DeepLab

    if config.backbone._target_.endswith("Timm"):
        import_timm()
    with torch.device("meta"):
        model = instantiate(config.model, num_classes=3)
    assert isinstance(model, DeepLab)
    if config.optimizer.multipliers.weight:  # else that of MSc's second stage, see tests/training/test_optim.py
        optimizer = instantiate(config.optimizer, model)
        length = {"total_iters": 100} if "total_iters" in config.scheduler else {}
        assert instantiate({**config.scheduler, **length}, optimizer)
    assert instantiate(config.loss)
    assert instantiate(config.augmentation)
    if config.crf:
        assert instantiate(config.crf).parameters.iterations == 10


@pytest.mark.parametrize(("command", "choices"), CHOICES)
def test_every_choice_composes_with_all_references_resolved(command, choices):
    config = compose(*choices, command=command)
    if command == "train" and len(choices) > 1:
        check_that_all_is_built(config)
    del config.hydra
    OmegaConf.resolve(config)
    assert OmegaConf.missing_keys(config) == set()
    for group, name in (choice.split("=") for choice in choices):
        if (CONF / group / f"{name}.yaml").read_text().strip().splitlines()[0] != "# @package _global_":
            assert group in config or name == "none"


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "callbacks").glob("[!_]*.yaml")))
def test_every_callback_is_built(name):
    for value in compose(f"callbacks={name}", "crf=deeplab").callbacks.values():
        assert instantiate(value) is not None


@pytest.mark.parametrize("name", ["whole", "multi_scale", "windows"])
def test_every_inference_is_built(name):
    from src.models import Inference

    for command in ("evaluate", "predict"):
        assert isinstance(instantiate(compose(f"inference={name}", command=command).inference), Inference)


def test_callbacks_of_an_evaluation_are_built():
    for value in compose("crf=deeplab", command="evaluate").callbacks.values():
        assert instantiate(value) is not None


# mlflow, which takes seconds to start, is in tests/integration/test_tracking.py
LOGGERS = {path.stem for path in (CONF / "logger").glob("[!_]*.yaml")} - {"mlflow"}


@pytest.mark.parametrize("name", sorted(LOGGERS))
def test_every_logger_is_built(name, tmp_path):
    config = compose(f"logger={name}", f"paths.output_dir={tmp_path}", f"paths.log_dir={tmp_path}")
    for value in (config.get("logger") or {}).values():
        assert instantiate(value) is not None


def test_trainer_is_built(tmp_path):
    assert instantiate({**compose(f"paths.output_dir={tmp_path}").trainer, "precision": "32-true"}).max_steps > 0


@pytest.fixture
def roots(camvid, voc_mini, tmp_path) -> dict[str, Path]:
    """Return a folder for every data set: real data, or a miniature."""
    for name in ("train", "val"):
        for base, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
            (tmp_path / base / name / "ulm").mkdir(parents=True)
            (tmp_path / base / name / "ulm" / f"ulm_1_{ending}.png").touch()
    for base in ("images", "masks"):
        (tmp_path / base).mkdir()
        for stem in "ab":
            (tmp_path / base / f"{stem}.png").touch()
    for name in ("training", "validation"):
        for base in ("images", "annotations"):
            (tmp_path / base / name).mkdir(parents=True)
        (tmp_path / "images" / name / "a.jpg").touch()
    (tmp_path / "objectInfo150.txt").write_text("header\n" + "".join(f"{i}\tthing {i}\n" for i in range(150)))
    own = dict.fromkeys(("ade20k", "cityscapes", "folder"), tmp_path)
    return {"camvid": camvid, "voc12": voc_mini, "voc12_aug": voc_mini, **own}


DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("[!_]*.yaml"))


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_dataset_is_named_with_its_folder(name, tmp_path):
    config = compose(f"dataset={name}")
    if "root" in config.dataset:
        config.dataset.root = str(tmp_path)
        with pytest.raises(InstantiationException, match=f"root={tmp_path}: no .*; set root") as error:
            instantiate(config.data)
        assert isinstance(error.value.__cause__, UserError)


@pytest.mark.parametrize("name", ["ade20k", "camvid", "cityscapes", "folder", "shapes", "voc12", "voc12_aug"])
def test_dataset_is_built(name, roots):
    overrides = [f"dataset.root={roots[name]}"] if name in roots else []
    overrides += {"voc12_aug": ["dataset.masks=SegmentationClass"], "folder": ["dataset.classes=[ground,thing]"]}.get(
        name, []
    )
    datamodule = instantiate(compose(f"dataset={name}", *overrides).data)
    assert len(datamodule.train_set) > 0
    assert len(datamodule.train_set.classes) == len(datamodule.train_set.palette)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "release").glob("[!_]*.yaml")))
def test_every_release_is_built(name, tmp_path):
    """With nothing on the disk and no mirror, the error says what to do by hand."""
    dataset = name.removesuffix("_test")
    config = compose(f"dataset={dataset}", f"release={name}", command="prepare")
    for part in config.release.parts.values():
        archive = part.get("archive", part)
        assert archive.get("checksum") or archive.get("git_trees") or not archive.get("urls")
        OmegaConf.update(archive, "urls", [], force_add=True)
    with pytest.raises(UserError, match=r"Get it from http.*put it at /.*run this again"):
        instantiate(config.release).prepare(tmp_path / "root", tmp_path / "downloads")


def test_a_datasets_release_is_chosen_with_it():
    counts = compose("dataset=voc12_aug", command="prepare").release.parts.sbd.counts
    assert counts["ImageSets/Segmentation/train_aug.txt"] == 10582
    assert compose("dataset=folder", command="prepare").get("release") is None


def test_every_preset_says_where_its_numbers_come_from():
    for path in CONF.glob("crf/[!_]*.yaml"):
        assert path.read_text().startswith("#"), path


def test_paper_recipe():
    """The numbers of section 5 and of the released prototxt."""
    config = compose("experiment=voc12_largefov")
    assert (config.optimizer.lr, config.optimizer.momentum, config.optimizer.weight_decay) == (1e-3, 0.9, 5e-4)
    assert dict(config.optimizer.multipliers) == {
        "weight": 1, "bias": 2, "norm": 1, "classifier_weight": 10, "classifier_bias": 20,
    }  # fmt: skip
    assert (config.scheduler.step_size, config.scheduler.gamma, config.trainer.max_steps) == (2000, 0.1, 6000)
    assert (config.data.batch_size, config.augmentation.crop_size, config.augmentation.scale) == (30, 321, None)
    assert (config.crf.w2, config.crf.sg, config.crf.iterations) == (3, 3, 10)
    assert config.backbone.weights == "caffe"
    assert compose("experiment=voc12_vanilla").data.batch_size == 20


@pytest.mark.parametrize(
    "overrides",
    [
        ["crf.sxy=[40,60]"],
        ["dataset=folder", "dataset.void=[0,0,0]"],
        ["trainer=gpu", "trainer.devices=[0,1]"],
        ["augmentation=scale_jitter", "augmentation.scale.0=0.8"],
        ["callbacks.resume.every_minutes=null"],
        ["~optimizer.momentum"],
    ],
)
def test_values_of_another_type_that_are_valid(overrides: list[str]) -> None:
    config = compose(*overrides)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    check_structure(config, compose(*overrides[:-1]), overrides)
    check_values(config, compose(*overrides[:-1]), overrides)
