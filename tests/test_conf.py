"""Every YAML composes, and every ``_target_`` in it is built."""

import hydra
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.command import slug
from tests.conftest import REPO
from tests.torchvision import import_timm

CONF = REPO / "conf"
CHOICES = [
    f"{path.parent.relative_to(CONF)}={path.stem}"
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name not in ("hydra", "paths")
]


def compose(*overrides: str) -> DictConfig:
    OmegaConf.register_new_resolver("slug", slug, replace=True)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("train", [*overrides, "hydra.runtime.output_dir=/tmp"], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_with_all_references_resolved(choice):
    config = compose(choice)
    del config.hydra
    OmegaConf.resolve(config)
    group, name = choice.split("=")
    assert OmegaConf.missing_keys(config) == set()
    if (CONF / group / f"{name}.yaml").read_text().strip().splitlines()[0] != "# @package _global_":
        assert group in config or name == "none"


@pytest.mark.parametrize("group", ["backbone", "head", "loss", "optimizer", "scheduler", "augmentation", "crf"])
def test_every_target_of_a_group_is_built(group):
    from src.models import DeepLab

    for path in sorted((CONF / group).glob("*.yaml"), key=lambda path: (path.stem == "timm", path)):
        head = ["head=msc_largefov"] if path.stem == "second_stage" else []  # it trains what MSc adds
        crf = [f"crf={path.stem}"] if group == "crf" else []
        config = compose("backbone=slim", *head, f"{group}={path.stem}", "crf=none", *crf)
        if path.stem == "timm":
            import_timm()
        with torch.device("meta"):
            model = instantiate(config.model, num_classes=3)
        assert isinstance(model, DeepLab)
        optimizer = instantiate(config.optimizer, model)
        length = {"total_iters": 10} if "total_iters" in config.scheduler else {}
        assert instantiate({**config.scheduler, **length}, optimizer)
        assert instantiate(config.loss)
        assert instantiate(config.augmentation)
        if group == "crf" and path.stem != "none":
            assert instantiate(config.crf).parameters.iterations == 10


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "callbacks").glob("*.yaml")))
def test_every_callback_is_built(name):
    for value in compose(f"callbacks={name}", "crf=deeplab").callbacks.values():
        assert instantiate(value) is not None


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "logger").glob("*.yaml")))
def test_every_logger_is_built(name, tmp_path):
    config = compose(f"logger={name}", f"paths.output_dir={tmp_path}")
    for value in (config.get("logger") or {}).values():
        assert instantiate(value) is not None


def test_trainer_is_built(tmp_path):
    assert instantiate({**compose(f"paths.output_dir={tmp_path}").trainer, "precision": "32-true"}).max_steps > 0


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "dataset").glob("*.yaml")))
def test_every_dataset_is_built(name, camvid, voc_mini, tmp_path):
    roots = {"camvid": camvid, "voc12": voc_mini, "voc12_aug": voc_mini}
    overrides = [f"dataset.root={roots[name]}"] if name in roots else []
    if name == "voc12_aug":
        overrides.append("dataset.masks=SegmentationClass")
    if name == "folder":
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir()
            for stem in "ab":
                (tmp_path / folder / f"{stem}.png").touch()
        overrides += [f"dataset.root={tmp_path}", "dataset.classes=[ground,thing]"]
    datamodule = instantiate(compose(f"dataset={name}", *overrides).data)
    assert len(datamodule.train_set) > 0
    assert len(datamodule.train_set.classes) == len(datamodule.train_set.palette)


def test_every_preset_says_where_its_numbers_come_from():
    for path in CONF.glob("crf/*.yaml"):
        assert path.read_text().startswith("#"), path


def test_paper_recipe():
    """Section 4 and the released prototxt, number by number."""
    config = compose("experiment=voc12_largefov")
    assert (config.optimizer.lr, config.optimizer.momentum, config.optimizer.weight_decay) == (1e-3, 0.9, 5e-4)
    assert dict(config.optimizer.multipliers) == {
        "weight": 1, "bias": 2, "norm": 1, "classifier_weight": 10, "classifier_bias": 20,
    }  # fmt: skip
    assert (config.scheduler.step_size, config.scheduler.gamma, config.trainer.max_steps) == (2000, 0.1, 6000)
    assert (config.data.batch_size, config.augmentation.crop_size, config.augmentation.scale) == (30, 321, None)
    assert (config.crf.w2, config.crf.sg, config.crf.iterations) == (3, 3, 10)
    assert compose("experiment=voc12_vanilla").data.batch_size == 20
