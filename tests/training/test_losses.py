"""Losses against their definitions; void never counts."""

from collections.abc import Callable

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn import functional as F

from src.models.geometry import shrink_label
from src.training.losses import ClassBalancedCrossEntropy, CrossEntropy, OHEMCrossEntropy, SegmentationLoss
from tests.models.networks import CONF, composed

LOSSES = sorted(path.stem for path in (CONF / "loss").glob("*.yaml"))
every_criterion = pytest.mark.parametrize("criterion", LOSSES, indirect=True)


@pytest.fixture
def criterion(request: pytest.FixtureRequest) -> nn.Module:
    """Return the criterion of a configured loss, by the name of the loss."""
    return instantiate(composed(f"loss={request.param}").loss.criterion)


def sample(rows: int = 7, columns: int = 5) -> tuple[Tensor, Tensor]:
    """Return scores of four classes, and labels with a frequent, a rare and an absent class, and void."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 4, rows, columns, generator=generator, dtype=torch.float64)
    label = torch.zeros(2, rows, columns, dtype=torch.int64)
    label[:, 0], label[0, 1, 0], label[:, -1] = 1, 2, 255
    return scores.requires_grad_(), label


@every_criterion
def test_void_has_no_say(criterion: nn.Module) -> None:
    scores, label = sample()
    loss = criterion(scores, label)
    loss.backward()
    assert scores.grad is not None
    assert not scores.grad[:, :, -1].any()
    assert scores.grad[:, :, 0].any()
    changed = scores.detach().clone()
    changed[:, :, -1] = 100.0
    torch.testing.assert_close(criterion(changed, label), loss.detach())


@every_criterion
def test_nothing_but_void_costs_nothing(criterion: nn.Module) -> None:
    scores, label = sample()
    loss = criterion(scores, torch.full_like(label, 255))
    loss.backward()
    assert loss == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_label_smoothing_by_hand() -> None:
    """A tenth of the target is spread over all four classes."""
    scores, label = sample()
    known = label != 255
    log_p = F.log_softmax(scores, dim=1).movedim(1, -1)[known]
    target = 0.9 * F.one_hot(label[known], 4) + 0.1 / 4
    torch.testing.assert_close(CrossEntropy(0.1)(scores, label), -(target * log_p).sum(dim=1).mean())


def test_class_balanced_by_hand() -> None:
    scores, label = sample()
    beta = 0.9
    each = F.cross_entropy(scores, label, ignore_index=255, reduction="none")
    weight = {c: (1 - beta) / (1 - beta ** int((label == c).sum())) for c in (0, 1, 2)}
    expected = sum(weight[c] * each[label == c].sum() for c in weight) / sum(
        weight[c] * (label == c).sum() for c in weight
    )
    torch.testing.assert_close(ClassBalancedCrossEntropy(beta)(scores, label), expected)


def test_class_balanced_between_its_limits() -> None:
    scores, label = sample()
    torch.testing.assert_close(ClassBalancedCrossEntropy(0.0)(scores, label), CrossEntropy()(scores, label))
    each = F.cross_entropy(scores, label, ignore_index=255, reduction="none")
    by_class = torch.stack([each[label == c].mean() for c in (0, 1, 2)])
    torch.testing.assert_close(ClassBalancedCrossEntropy(1 - 1e-9)(scores, label), by_class.mean(), rtol=1e-5, atol=0)


def test_ohem_counts_the_hard_ones() -> None:
    scores, label = sample()
    each = F.cross_entropy(scores, label, ignore_index=255, reduction="none")[label != 255]
    hard = each[each > -torch.tensor(0.7).log()]
    assert 0.25 * len(each) < len(hard) < len(each)
    torch.testing.assert_close(OHEMCrossEntropy(0.7, 0.25)(scores, label), hard.mean())
    torch.testing.assert_close(OHEMCrossEntropy(1.0, 0.25)(scores, label), CrossEntropy()(scores, label))
    fewest = each.sort(descending=True).values[:6]  # a tenth of 60, though no probability is below 0.001
    torch.testing.assert_close(OHEMCrossEntropy(0.001, 0.1)(scores, label), fewest.mean())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CrossEntropy(1.5), "^label_smoothing=1.5: must lie between 0 and 1"),
        (lambda: ClassBalancedCrossEntropy(1.0), "^beta=1.0: must be 0 or more and below 1"),
        (lambda: OHEMCrossEntropy(0.0), "^threshold=0.0: must be above 0 and at most 1"),
        (lambda: OHEMCrossEntropy(0.7, 2.0), "^least=2.0: must be above 0 and at most 1"),
    ],
)
def test_values_out_of_range_are_named(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("choice", LOSSES)
def test_every_configuration_takes_scores_at_an_eighth_and_at_full_size(choice: str) -> None:
    loss = instantiate(composed(f"loss={choice}").loss)
    label = torch.randint(0, 4, (2, 30, 41), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    label[:, :3] = 255
    for rows, columns in ((5, 6), (33, 41)):
        scores = torch.zeros(2, 4, rows, columns, requires_grad=True)
        value = loss(scores, label)
        value.backward()
        assert torch.isfinite(value)
        assert value > 0
        if type(loss.criterion).__name__.endswith("CrossEntropy"):  # of four classes that are equally probable
            torch.testing.assert_close(value, torch.tensor(4.0).log())


def test_full_resolution_scores_meet_every_label() -> None:
    scores, _ = sample(33, 41)
    label = torch.randint(0, 4, (2, 30, 41), generator=torch.Generator().manual_seed(1))
    for grid in ("scores", "image"):
        loss = SegmentationLoss(CrossEntropy(), grid)(scores, label)
        torch.testing.assert_close(loss, F.cross_entropy(scores.float()[..., :30, :], label))
    shrunk = SegmentationLoss(CrossEntropy())(scores[..., ::8, ::8], label)
    torch.testing.assert_close(
        shrunk, F.cross_entropy(scores.float()[..., ::8, ::8], shrink_label(label), ignore_index=255)
    )
