"""Errors of components name their arguments; the command line replaces these by keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.cli.messages.argument_keys import arguments_of, name_keys
from src.cli.messages.errors import explain
from src.cli.references import key_to_set
from src.data.dataset import DatasetError
from src.models.backbones.backbone import WeightsError
from src.system.errors import UserError
from src.training.fit import build_segmenter
from src.training.segmenter import Segmenter
from tests.models.networks import composed


def line_of(config: DictConfig, build: Callable[[DictConfig], Any]) -> str:
    with pytest.raises((InstantiationException, UserError)) as caught:
        build(config)
    return explain(caught.value, "train", [], config)


def network(config: DictConfig) -> Any:
    return instantiate(config.model, num_classes=3)


def segmenter(config: DictConfig) -> Segmenter:
    return build_segmenter(config, ["ground", "thing"], [[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize("build", [network, segmenter])
@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["head.kernel=0"], "head.kernel=0: must be positive"),
        (["head=msc", "head.trunk.kernel=0"], "head.trunk.kernel=0: must be positive"),
        (
            ["head=msc", "head.trunk.kernel=2", "head.trunk.rate=3"],
            "head.trunk.rate=3 with head.trunk.kernel=2: rate * (kernel - 1) must be even",
        ),
        (["head=msc", "head.std=[1]"], "head.std=[1]: must have 5 numbers"),
        # The trunk is built by another part, and has a name in common with it
        (["head=msc", "head.channels=1", "head.width=1", "head.trunk.channels=0"], "head.trunk.channels=0"),
        (["backbone=resnet50", "backbone.blocks=[1]"], "backbone.blocks=[1]: must have 4 numbers"),
        (["backbone._target_=src.models.VGGG"], "backbone: Error loading 'src.models.VGGG'"),
    ],
)
def test_parts_of_a_network_from_a_config_and_from_plain_dicts(
    overrides: list[str], line: str, build: Callable[[DictConfig], Any]
) -> None:
    assert line_of(composed("backbone.width=0.0625", *overrides, resolve=False), build).startswith(line)


@pytest.mark.parametrize(
    ("overrides", "build", "line"),
    [
        (["loss=ohem", "loss.criterion.least=2"], segmenter, "loss.criterion.least=2: must be above 0 and at most 1"),
        (["dataset.seed=-1"], lambda c: instantiate(c.data), "dataset.seed=-1: must be a whole number, 0 or more"),
        (["+dataset.sise=3"], lambda c: instantiate(c.data), "dataset: Shapes.__init__() got an unexpected keyword"),
        (["data.batch_size=0"], lambda c: instantiate(c.data), "data.batch_size=0: must be a whole number"),
        (["dataset.samples.val=-1"], lambda c: instantiate(c.data), "dataset.samples.val=-1: must be a whole number"),
        (["augmentation.crop_size=0"], lambda c: instantiate(c.data), "augmentation.crop_size=0: must be a whole"),
        (["crf.prune=2"], lambda c: instantiate(c.callbacks.crf), "crf.prune=2: give a probability"),
        (
            ["callbacks.crf.first_n=0"],
            lambda c: instantiate(c.callbacks.crf),
            "callbacks.crf.first_n=0: must be positive",
        ),
        (
            ["dataset=folder", "dataset.root=/nowhere"],
            lambda c: instantiate(c.data),
            "dataset.root=/nowhere: no such folder (a relative path starts where you run the command); set",
        ),
        (
            ["callbacks=swa", "callbacks.weight_averaging.avg_fn.start=-1"],
            lambda c: instantiate(c.callbacks.weight_averaging),
            "callbacks.weight_averaging.avg_fn.start=-1: must not be negative",
        ),
    ],
)
def test_other_parts(overrides: list[str], build: Callable[[DictConfig], Any], line: str) -> None:
    assert line_of(composed("backbone.width=0.0625", *overrides, resolve=False), build).startswith(line)


def test_an_argument_that_is_a_reference_has_the_key_that_it_refers_to() -> None:
    content = OmegaConf.to_container(composed("head=msc", resolve=False))
    assert key_to_set(content, "model.head.trunk.kernel") == "head.trunk.kernel"
    assert key_to_set(content, "data.seed") == "seed"
    keys = set(arguments_of(content, "model"))
    assert keys >= {("frozen_norm", "model.frozen_norm"), ("weights", "backbone.weights"), ("trunk", "head.trunk")}


def test_files_of_weights_are_looked_for_after_the_network_is_built() -> None:
    from src.models.weights.pretrained import load_pretrained

    config = composed("backbone.weights=/nowhere.pth", "backbone.width=0.0625", resolve=False)
    line = line_of(config, lambda c: load_pretrained(network(c)))
    assert line.startswith("backbone.weights=/nowhere.pth: no such file; give a path, ")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DatasetError("cache=null: choose another folder"), "dataset.cache=null: choose another folder"),
        (DatasetError("seed=2: no such list"), "dataset.seed=2: no such list"),
        (WeightsError("weights=none: needs width=1"), "backbone.weights=none: needs backbone.width=1"),
        (UserError("cache=null: choose another folder"), "cache=null: choose another folder"),
    ],
)
def test_errors_of_a_run_name_the_keys_of_their_part(error: UserError, line: str) -> None:
    """Also when another process raised them, as the workers of a loader do: PyTorch raises them anew by their type."""
    config = composed("dataset=folder", "dataset.seed=2", resolve=False)
    assert name_keys(str(error), type(error)(str(error)), config)[0] == line


def test_a_key_of_a_command_with_the_name_of_an_argument_stays() -> None:
    config = OmegaConf.create({"on_error": "stop", "dataset": {"_target_": "src.data.Folder", "on_error": "raise"}})
    for value, key in (("stop", "on_error"), ("raise", "dataset.on_error"), ("leave", "dataset.on_error")):
        assert name_keys(f"on_error={value}: no", DatasetError("on_error"), config)[0] == f"{key}={value}: no"


def test_paths_and_errors_from_elsewhere_stay_as_they_are() -> None:
    config = composed(resolve=False)
    message = "/runs/0_rate=4/seed=1/kernel=3.png: cannot be read"
    assert name_keys(message, UserError(message), config) == (message, "")
    with pytest.raises(InstantiationException) as caught:
        network(composed("head.kernel=0", resolve=False))
    assert name_keys("a/kernel=3.png with kernel=3", caught.value, config)[0] == "a/kernel=3.png with head.kernel=3"
