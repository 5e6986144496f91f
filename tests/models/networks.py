"""Networks of the configurations, for the tests of this folder."""

import copy
import functools
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.models import DeepLab

torch.set_num_threads(1)  # networks this small only wait for each other's threads; the tests share the cores already

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str, name: str = "train", resolve: bool = True) -> DictConfig:
    """Return a configuration as the command line would compose it."""
    config = copy.deepcopy(composed_once(name, overrides))
    if resolve:
        OmegaConf.resolve(config)
    return config


@functools.cache  # a tenth of a second each
def composed_once(name: str, overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, overrides=["paths.output_dir=.", *overrides])


def network(device: str, *overrides: str, classes: int = 21) -> DeepLab:
    """The configured network; on "meta" it has shapes and no memory."""
    with torch.device(device):
        return instantiate(composed(*overrides).model, num_classes=classes)
