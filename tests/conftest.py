"""Fixtures for real data, and the import hook that checks shapes in models, metrics and losses."""

import copy
import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook
from omegaconf import DictConfig

from tests import typechecking
from tests.commands import REPO, set_default_signals

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests share the cores already
os.environ.setdefault("TORCH_HOME", str(REPO / ".pytest_cache" / "torch"))  # of the measured memory formats
os.environ["WANDB_MODE"] = "offline"

set_default_signals()

hook = install_import_hook(["src.models", "src.metrics", "src.training.losses"], f"{typechecking.__name__}.check")
hook.__enter__()

# Few examples and always the same ones; pytest tests/fuzz -m '' -n 0 --hypothesis-profile=long draws new ones, many.
slow_is_fine = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("few", max_examples=8, derandomize=True, database=None, **slow_is_fine)
settings.register_profile("long", max_examples=1000, **slow_is_fine)
settings.load_profile("few")

DATA = Path(os.environ.get("DEEPLAB_DATA", REPO.parent / "shared" / "data"))


def real_data(name: str) -> Path:
    """Return the folder of a real data set; skip the test if it is absent."""
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is absent (set DEEPLAB_DATA to the folder that holds {name}/)")
    return DATA / name


@pytest.fixture(scope="session")
def camvid() -> Path:
    return real_data("camvid")


@pytest.fixture(scope="session")
def voc_mini() -> Path:
    return real_data("voc2012_mini")


@pytest.fixture
def defaults_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache the default configs that commands compose; this halves the time of a test of a wrong override."""
    import hydra

    monkeypatch.setattr(hydra, "compose", functools.partial(keeping, hydra.compose))


kept: dict[tuple[object, ...], DictConfig] = {}


def keeping(compose: Callable[..., DictConfig], name: str, overrides: list[str], **options: bool) -> DictConfig:
    """Compose, or copy what was composed from the same."""
    key = (name, *overrides, *options.items())
    if key not in kept:
        kept[key] = compose(name, overrides, **options)
    return copy.deepcopy(kept[key])
