"""Each parameter of the CRF occurs in all places that must know it."""

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from src.crf import DenseCRF, Parameters

REPO = Path(__file__).resolve().parents[2]

NAMES = [field.name for field in fields(Parameters)]


def test_dense_crf_takes_every_parameter() -> None:
    defaults = {field.name: field.default for field in fields(Parameters)}
    signature = inspect.signature(DenseCRF).parameters.values()
    assert {p.name: p.default for p in signature} == {**defaults, "engine": "auto"}


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_stored_and_part_of_repr(name: str) -> None:
    """A search uses ``repr`` as part of the key of stored results."""
    by_class = {"bias": (1.5, 2.0), "compatibility": ((0.0, 1.75), (1.75, 0.0))}
    value = {"iterations": 7, "prune": 0.25, **by_class}.get(name, 1.75)
    crf = DenseCRF(**{name: value}, engine="torch")  # type: ignore[arg-type]
    assert getattr(crf.parameters, name) == value
    assert f"{name}={value}" in repr(crf)


def test_presets_set_every_parameter() -> None:
    base = yaml.safe_load((REPO / "conf" / "crf" / "_base.yaml").read_text())
    assert set(base) == {"_target_", *NAMES, "engine"}


def test_the_documentation_explains_every_parameter() -> None:
    section = (REPO / "docs" / "crf.md").read_text().partition("## Parameters")[2].partition("\n![")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*NAMES, "engine"]


def test_pydensecrf_refuses_to_prune_in_a_copy_too() -> None:
    pytest.importorskip("pydensecrf.densecrf")
    crf = DenseCRF(5, 30, 10, engine="pydensecrf")
    with pytest.raises(ValueError, match="cannot prune"):
        crf.with_parameters(prune=0.1)
