"""The lattice in torch: a linear map with the correct transpose, close to the Gaussian filter."""

from __future__ import annotations

import pytest
import torch

from src.crf.lattice import permutohedral
from src.crf.lattice.features import position_features
from src.crf.lattice.permutohedral import Lattice


def random_lattice(points: int = 60, dimensions: int = 5) -> Lattice:
    features = 2 * torch.randn(points, dimensions, generator=torch.Generator().manual_seed(0))
    return Lattice(features, torch.float64)


def test_weights_are_barycentric():
    lattice = random_lattice()
    weight = lattice.slice.weight.reshape(60, -1)
    assert weight.min() >= -1e-5
    assert torch.allclose(weight.sum(1), torch.ones((), dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_backward_is_the_transpose(dimensions):
    lattice = random_lattice(dimensions=dimensions)
    eye = torch.eye(60, dtype=torch.float64, requires_grad=True)
    matrix = lattice.filter(eye)
    other = torch.randn(60, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (matrix * other).sum().backward()
    assert torch.allclose(eye.grad, matrix.detach().T @ other)


def test_second_derivatives():
    lattice = random_lattice(points=8).normalise()
    values = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: lattice.filter(v).exp(), (values,))


@pytest.mark.parametrize("dimensions", [(5, 2), (2, 5), (2, 2)])
def test_a_sum_of_lattices_is_the_sum_of_their_maps_and_gradients(dimensions):
    one = random_lattice(dimensions=dimensions[0]).normalise(5.0)
    two = random_lattice(dimensions=dimensions[1]).normalise(3.0)
    values = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    other = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    apart, together = one.filter(values) + two.filter(values), (one + two).filter(values)
    assert torch.allclose(together, apart)
    gradients = [torch.autograd.grad((found * other).sum(), values)[0] for found in (together, apart)]
    assert torch.allclose(*gradients)
    assert torch.allclose(one.filter(values), apart - two.filter(values))  # neither was changed


def test_split_sums_give_the_same_map_and_gradient(monkeypatch):
    """Long sums are split on a GPU."""
    values = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    other = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def there_and_back() -> tuple[torch.Tensor, torch.Tensor]:
        lattice = random_lattice(dimensions=1).normalise(5.0) + random_lattice(dimensions=2).normalise(3.0)
        found = lattice.filter(values)
        return found, torch.autograd.grad((found * other).sum(), values)[0]

    whole = there_and_back()
    monkeypatch.setitem(permutohedral.MAX_ROWS, "cpu", 4)
    assert len(random_lattice(dimensions=1).splat) == 2
    for pieces, expected in zip(there_and_back(), whole, strict=True):
        assert torch.allclose(pieces, expected)


def test_the_filter_is_close_to_a_gaussian():
    features = position_features(40, 40, 4, 4).double()
    kernel = torch.exp(-0.5 * torch.cdist(features, features) ** 2)
    norm = kernel.sum(1).rsqrt()
    values = (features[:, :1] > 5).double()
    exact = norm[:, None] * (kernel @ (norm[:, None] * values))
    found = Lattice(features.float(), torch.float64).normalise().filter(values)
    assert (found - exact).abs().max() < 0.06
    assert (found - exact).abs().mean() < 0.015


def test_keys_too_wide_to_pack_give_the_same_lattice(monkeypatch):
    values = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    features = 2 * torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    image = torch.arange(60) % 2
    packed = random_lattice().filter(values)
    packed_two = Lattice(features, torch.float64, image).filter(values)
    monkeypatch.setattr(permutohedral, "pack_keys", lambda *_: None)
    assert torch.allclose(random_lattice().filter(values), packed)
    assert torch.allclose(Lattice(features, torch.float64, image).filter(values), packed_two)


def test_points_of_different_images_do_not_interact():
    features = 2 * torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    values = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    image = torch.arange(60) % 3
    together = Lattice(features, torch.float64, image).normalise(2.0).filter(values)
    for number in range(3):
        own = image == number
        alone = Lattice(features[own], torch.float64).normalise(2.0).filter(values[own])
        assert torch.allclose(together[own], alone)
