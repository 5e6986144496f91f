"""Any parameters, sizes and scores with every engine: a distribution at every pixel, or an error naming the cause."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from src.crf import DenseCRF
from tests.crf.samples import engine_or_skip

ENGINES = ("native", "torch", "pydensecrf", "exact")
anything = st.one_of(st.floats(), st.integers(-3, 200), st.just(0))
wild = st.fixed_dictionaries(
    {},
    optional={
        "w1": anything, "sxy": st.one_of(anything, st.tuples(anything, anything), st.tuples(anything)),
        "srgb": anything, "w2": anything, "sg": anything,
        "iterations": st.one_of(st.integers(-2, 12), st.floats()), "prune": anything,
    },
)  # fmt: skip
width = st.floats(0.3, 200)
sane = st.fixed_dictionaries(
    {
        "w1": st.floats(0, 20), "sxy": st.one_of(width, st.tuples(width, width)), "srgb": width,
        "w2": st.floats(0, 20), "sg": st.floats(0.3, 20), "iterations": st.integers(0, 10),
        "prune": st.sampled_from([0.0, 0.01, 0.5]),
    }
)  # fmt: skip
shapes = st.tuples(st.integers(1, 8) | st.sampled_from([21, 256]), st.integers(1, 40), st.integers(1, 40))


def sample(shape: tuple[int, int, int], seed: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image of blobs with noise, and logits."""
    rng = np.random.default_rng(seed)
    _, height, width = shape
    image = np.clip(rng.integers(0, 200, (3, 1, 1)) + rng.normal(0, 20 * (seed % 3), (3, height, width)), 0, 255)
    return torch.from_numpy(image.astype(np.uint8)), torch.from_numpy(rng.normal(0, scale, shape).astype(np.float32))


def is_distribution(q: torch.Tensor) -> bool:
    return bool(q.isfinite().all()) and bool((q >= 0).all()) and bool(((q.sum(0) - 1).abs() < 1e-3).all())


@pytest.mark.parametrize("engine", ENGINES)
@given(parameters=wild, shape=shapes, seed=st.integers(0, 20))
@example(parameters={"srgb": 1e-30}, shape=(2, 3, 3), seed=1)
@example(parameters={"sxy": 1e30, "srgb": 1e30, "sg": 1e30}, shape=(2, 3, 3), seed=1)
@example(parameters={"sg": 5e-324, "sxy": 1e-200}, shape=(2, 5, 5), seed=1)
@example(parameters={"w1": 1e38, "w2": 1e300}, shape=(3, 4, 4), seed=1)
def test_any_parameters_give_a_distribution_or_are_named(
    engine: str, parameters: dict[str, Any], shape: tuple[int, int, int], seed: int
) -> None:
    engine_or_skip(engine)
    if engine in ("exact", "torch"):
        shape = (min(shape[0], 21), min(shape[1], 12), min(shape[2], 12))
    image, logits = sample(shape, seed)
    q, refusal = None, ""
    try:
        q = DenseCRF(**parameters, engine=engine)(image, logits=logits)
    except ValueError as error:
        refusal = str(error)
    if q is None:
        assert any(f"{name}=" in refusal or f"{name} " in refusal for name in (*parameters, "engine")), refusal
        return
    assert q.shape == logits.shape
    assert is_distribution(q), (parameters, float(q.min()), float(q.max()))


@given(parameters=sane, shape=shapes, seed=st.integers(0, 20))
def test_engines_agree(parameters: dict[str, Any], shape: tuple[int, int, int], seed: int) -> None:
    """The native and the torch engine use the same lattice; another order of sums may change undecided pixels."""
    engine_or_skip("native")
    image, logits = sample((min(shape[0], 21), *shape[1:]), seed)
    found = [DenseCRF(**parameters, engine=engine)(image, logits=logits) for engine in ("native", "torch")]
    assert all(map(is_distribution, found))
    assert float((found[0] - found[1]).abs().max()) < 1e-2


@given(parameters=sane, classes=st.integers(1, 5), sides=st.tuples(st.integers(1, 10), st.integers(1, 10)))
def test_one_step_is_near_the_exact_one(parameters: dict[str, Any], classes: int, sides: tuple[int, int]) -> None:
    """Messages of the lattice are off by a quarter of a kernel's weight at most, so that the labels of one step are
    those of O(N^2) sums wherever these are decided by more than that."""
    gentle = {**parameters, "iterations": 1, "prune": 0.0}
    image, logits = sample((classes, *sides), 1)
    exact = DenseCRF(**gentle, engine="exact")(image, logits=logits)
    slack = math.exp(-2 * 0.25 * (gentle["w1"] + gentle["w2"]))
    for engine in ("native", "torch"):
        q = DenseCRF(**gentle, engine=engine_or_skip(engine))(image, logits=logits)
        top, second = torch.cat([exact, torch.zeros(1, *sides)]).sort(0, descending=True).values[:2]
        decided = second < slack * top
        assert bool((q.argmax(0) == exact.argmax(0))[decided].all())


@pytest.mark.parametrize("engine", ENGINES)
@given(value=st.sampled_from([math.nan, math.inf, -math.inf, 1e38, -1e38, 3e38]), seed=st.integers(0, 5))
def test_any_scores_give_a_distribution_or_are_named(engine: str, value: float, seed: int) -> None:
    image, logits = sample((3, 6, 7), seed)
    logits[seed % 3, 1, 2] = value
    crf = DenseCRF(5, 10, 10, engine=engine_or_skip(engine))
    if math.isfinite(value):
        assert is_distribution(crf(image, logits=logits))
        return
    with pytest.raises(ValueError, match="logits has values that are not finite"):
        crf(image, logits=logits)
