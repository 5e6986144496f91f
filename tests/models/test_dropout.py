"""Dropout by its definition: kept with probability 1 - p and scaled by 1 / (1 - p), element by element."""

import jaxtyping
import pytest
import torch

from src.models.dropout import Dropout


@pytest.mark.parametrize("p", [0.5, 0.125])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_scale_and_gradient(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(40, 50, 60, dtype=dtype, requires_grad=True)
    y = Dropout(p)(x)
    kept = y != 0
    # 120,000 draws: five standard deviations
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=5 * (p * (1 - p) / 120_000) ** 0.5)
    torch.testing.assert_close(y[kept].float(), torch.full((int(kept.sum()),), 1 / (1 - p)), rtol=4e-3, atol=0)
    y.float().sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert y.dtype == dtype


def test_evaluation_and_zero_change_nothing():
    x = torch.randn(5, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert (Dropout(1.0)(x) == 0).all()


def test_seed_repeats():
    layer, x = Dropout(0.5), torch.ones(1000)
    torch.manual_seed(1)
    first = layer(x)
    second = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_compiled_it_stays_in_one_graph(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # shape checks cannot be compiled
    torch.manual_seed(0)
    y = torch.compile(Dropout(0.5), backend="eager", fullgraph=True)(torch.ones(120_000))
    assert (y != 0).float().mean().item() == pytest.approx(0.5, abs=5 * (0.25 / 120_000) ** 0.5)
    assert set(y.tolist()) == {0.0, 2.0}
