"""The texts of Hydra and OmegaConf by which errors are recognised are still theirs."""

import re

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.cli.conf_folder import CONF
from src.cli.messages.argument_keys import FULL_KEY
from src.cli.messages.errors import NOT_FOUND, RESOLVING, TARGET
from src.cli.messages.overrides import CHOSEN_TWICE, NO_CHOICE, NO_OVERRIDE, NO_REMOVAL, SEVERAL_VALUES, WRONG_KIND
from src.cli.resolvers import register_resolvers


def error_of(*overrides: str) -> Exception:
    """Return the error that Hydra itself raises for overrides of a training."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(Exception) as caught:  # noqa: PT011
        OmegaConf.resolve(compose("train", ["paths.output_dir=.", *overrides]))
    return caught.value


def assert_found(pattern: re.Pattern[str], text: str, found: str) -> None:
    match = pattern.search(text)
    assert match is not None, f"a message has changed, look at src/cli/messages: {pattern.pattern} is not in: {text}"
    assert found in (match[0], *match.groups()), text


@pytest.mark.parametrize(
    ("override", "pattern", "found"),
    [
        ("head=largefv", NO_CHOICE, "head/largefv"),
        ("hydra/launcher=absent", NO_CHOICE, "hydra/launcher/absent"),
        ("~head.absent", NO_REMOVAL, "head.absent"),
        ("~head=vanilla", NO_REMOVAL, "head"),
        ("+head=vanilla", CHOSEN_TWICE, "head"),
        ("optimizer.lrr=1", NO_OVERRIDE, "optimizer.lrr"),
        ("hydra.job.chdir=perhaps", NO_OVERRIDE, "hydra.job.chdir=perhaps"),
        ("head=vanilla,largefov", SEVERAL_VALUES, "head=vanilla,largefov"),
        ("head.rate=${absent}", NOT_FOUND, "absent"),
        ("head.rate=${oc.env:ABSENT}", NOT_FOUND, "ABSENT"),
        ("head.rate=${oc.env:ABSENT}", RESOLVING, "KeyError raised while resolving interpolation: "),
    ],
)
def test_an_override(override: str, pattern: re.Pattern[str], found: str) -> None:
    assert_found(pattern, str(error_of(override)), found)


@pytest.mark.parametrize(("override", "kind"), [("backbone.convs={a: 1}", "list"), ("dataset.samples=[1,2]", "dict")])
def test_the_cause_of_an_override_of_another_kind(override: str, kind: str) -> None:
    assert_found(WRONG_KIND, str(error_of(override).__cause__), kind)


def test_an_object_that_cannot_be_built() -> None:
    config = OmegaConf.create({"part": {"_target_": "fractions.Fraction", "denominator": 0}})
    with pytest.raises(Exception, match="Fraction") as caught:
        instantiate(config.part)
    assert_found(TARGET, str(caught.value), "fractions.Fraction")
    assert_found(FULL_KEY, str(caught.value), "part")


def test_a_reference_without_a_value_names_its_key() -> None:
    config = OmegaConf.create({"a": {"b": "${absent}"}})
    with pytest.raises(Exception, match="absent") as caught:
        _ = config.a.b
    assert_found(FULL_KEY, str(caught.value), "a.b")
