"""Networks built from conf/, for the tests of this folder."""

import copy
import functools
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.cli.conf_groups import is_group
from src.cli.overrides import key_of
from src.cli.resolvers import register_resolvers
from src.models import DeepLab

torch.set_num_threads(1)  # networks this small only wait for each other's threads; the tests share the cores already

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str, name: str = "train", resolve: bool = True) -> DictConfig:
    """Return a configuration as the command line would compose it.

    Composing takes a fifth of a second, so it is done once for the same choices of groups; Hydra then sets the values.
    """
    values = [override for override in overrides if not decides_composition(override)]
    config = copy.deepcopy(composed_once(name, tuple(o for o in overrides if o not in values)))
    ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(values), config)
    if resolve:
        OmegaConf.resolve(config)
    return config


def decides_composition(override: str) -> bool:
    """Tell whether an override chooses from a group, or where Hydra looks for groups."""
    key = key_of(override)
    return "@" in key or key.startswith("hydra") or is_group(key)


@functools.cache
def composed_once(name: str, overrides: tuple[str, ...]) -> DictConfig:
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, overrides=["paths.output_dir=.", *overrides])


def network(device: str, *overrides: str, classes: int = 21) -> DeepLab:
    """Return the configured network; on "meta" it has shapes, but no memory."""
    with torch.device(device):
        return instantiate(composed(*overrides).model, num_classes=classes)
