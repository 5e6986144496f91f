"""What the config in a checkpoint may name: the networks, losses and data sets of this project."""

from itertools import zip_longest

import pytest
from omegaconf import OmegaConf

from src.runs.trusted_classes import find_untrusted, is_own_class
from tests.conftest import REPO
from tests.models.networks import composed

# What hydra.utils.instantiate would call or import without the check
CALLS = [
    "os.system",
    "builtins.eval",
    "subprocess.run",
    "torch.load",
    "torch.hub.load",
    "torch.utils.cpp_extension.load",
    "hydra.utils.call",
    "hydra.utils.instantiate",
    "hydra.utils.get_method",
    "hydra.utils.get_class",
    "functools.partial",
    "src.models.torch.load",  # imported by a module of this project
    "src.data.transforms.os.system",
    "src.training.losses.Tensor",  # defined elsewhere
    "src.training.losses.F",
    "src.data.train_transform",  # of this project, but it calls its argument
    "src.training.segmenter.Segmenter",
    "src.training.fit.train",
    "src.models.heads.head.Tensor",
    "src.models.nothing.Here",
    "src.models.inference.Inference",  # of this project, but neither a network nor a data set
    "src.data.cache.cache.PackedCache",
    "src.models",
    "src.models.",
    "src.models.DeepLab\n",
    " src.models.DeepLab",
    "${oc.env:HOME}",
]


@pytest.mark.parametrize("target", CALLS)
def test_only_classes_that_we_define_may_be_called(target: str) -> None:
    assert not is_own_class(target)
    assert any(find_untrusted({"_target_": target}))


@pytest.mark.parametrize("target", ["src.models.MSc", "src.models.heads.msc.MSc", "src.data.sets.camvid.CamVid"])
def test_networks_and_data_sets_may_be_named_by_their_module(target: str) -> None:
    assert is_own_class(target)


@pytest.mark.parametrize("target", [None, 3, ["os.system"], {"a": 1}, b"os.system"])
def test_a_target_that_is_no_text_is_refused(target: object) -> None:
    assert any(find_untrusted([{"_target_": target}]))


def test_what_our_checkpoints_name_is_ours() -> None:
    """For every choice of network, loss and data set."""
    groups = ("backbone", "head", "loss", "dataset")
    choices = [sorted(path.stem for path in (REPO / "conf" / group).glob("[!_]*.yaml")) for group in groups]
    for chosen in zip_longest(*choices):
        overrides = [f"{group}={choice}" for group, choice in zip(groups, chosen, strict=True) if choice]
        config = composed(*overrides, resolve=False)
        for group in groups:
            assert not [
                fault
                for fault in find_untrusted(OmegaConf.to_container(config[group]))
                if not fault.startswith("refers to")  # resolved before a checkpoint gets it
            ]
