"""Losses against their definitions; void never counts."""

import math
from collections.abc import Callable
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from sklearn.metrics import f1_score, jaccard_score
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from src.models.geometry import shrink_label
from src.training.losses import (
    ClassBalancedCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    LovaszSoftmax,
    OHEMCrossEntropy,
    SegmentationLoss,
    Tversky,
    WeightedSum,
)
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


def test_ohem_with_threshold_1_counts_positions_whose_loss_is_rounded_to_0() -> None:
    scores = torch.tensor([[[[200.0, 0.0]], [[0.0, 0.0]]]])  # 1 x classes 2 x 1 x 2
    label = torch.zeros(1, 1, 2, dtype=torch.int64)
    loss = OHEMCrossEntropy(threshold=1.0, least=0.5)(scores, label)
    torch.testing.assert_close(loss, torch.tensor(math.log(2) / 2))  # log(2) and 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CrossEntropy(1.5), "^label_smoothing=1.5: must lie between 0 and 1"),
        (lambda: ClassBalancedCrossEntropy(1.0), "^beta=1.0: must be 0 or more and below 1"),
        (lambda: OHEMCrossEntropy(0.0), "^threshold=0.0: must be above 0 and at most 1"),
        (lambda: OHEMCrossEntropy(0.7, 2.0), "^least=2.0: must be above 0 and at most 1"),
        (lambda: Focal(-1.0), "^gamma=-1.0: must be 0 or more"),
        (lambda: Focal(math.nan), "^gamma=nan: must be 0 or more"),
        (lambda: Tversky(-0.1, 0.5), "^alpha=-0.1: must be 0 or more"),
        (lambda: Tversky(0.5, 0.0), "^beta=0.0: must be above 0"),
        (lambda: WeightedSum({}), "^criteria={}: must name one criterion or more"),
        (lambda: WeightedSum({"a": Dice()}, {"b": 1}), "^weights.b=1.0: no such criterion; the criteria are a"),
        (lambda: WeightedSum({"a": Dice()}, {"a": -1}), "^weights.a=-1.0: must be 0 or more"),
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


@pytest.mark.parametrize("stride", [2, 4])
def test_scores_at_a_finer_stride_meet_the_labels_of_their_pixels(stride: int) -> None:
    """An image of 30x41 is padded to 33x41."""
    label = torch.randint(0, 4, (2, 30, 41), generator=torch.Generator().manual_seed(1))
    scores = sample(33, 41)[0].float()[..., ::stride, ::stride]
    expected = F.cross_entropy(scores[..., : -(-30 // stride), :], label[:, ::stride, ::stride])
    torch.testing.assert_close(SegmentationLoss(CrossEntropy())(scores, label), expected)


def test_focal_by_hand() -> None:
    """Two positions whose true classes have the probabilities 0.9 and 0.5."""
    scores = torch.tensor([[0.9, 0.5], [0.1, 0.5]], dtype=torch.float64).log()[None]
    label = torch.zeros(1, 2, dtype=torch.int64)
    expected = (0.1**2 * -math.log(0.9) + 0.5**2 * -math.log(0.5)) / 2
    assert float(Focal(2.0)(scores, label)) == pytest.approx(expected)
    scores, label = sample()
    torch.testing.assert_close(Focal(0.0)(scores, label), CrossEntropy()(scores, label))


def test_dice_and_tversky_by_hand() -> None:
    """Three labelled positions and a void one, two classes: TP, FP and FN of probabilities are sums on paper."""
    p = torch.tensor([0.8, 0.6, 0.3, 0.9], dtype=torch.float64)  # of class 0
    scores = torch.stack([p, 1 - p]).log()[None]
    label = torch.tensor([[0, 1, 1, 255]])
    # class 0: TP 0.8, FP 0.6 + 0.3, FN 0.2; class 1: TP 0.4 + 0.7, FP 0.2, FN 0.6 + 0.3
    dice = [2 * 0.8 / (2 * 0.8 + 0.9 + 0.2), 2 * 1.1 / (2 * 1.1 + 0.2 + 0.9)]
    assert float(Dice()(scores, label)) == pytest.approx(1 - sum(dice) / 2)
    tversky = [0.8 / (0.8 + 0.3 * 0.9 + 0.7 * 0.2), 1.1 / (1.1 + 0.3 * 0.2 + 0.7 * 0.9)]
    assert float(Tversky(0.3, 0.7)(scores, label)) == pytest.approx(1 - sum(tversky) / 2)
    only = torch.tensor([[0, 0, 255, 255]])  # class 1 is absent: it does not count
    assert float(Dice()(scores, only)) == pytest.approx(1 - 2 * 1.4 / (2 * 1.4 + 0.6))


def test_lovasz_by_hand() -> None:
    """The two errors of class 0 are 0.4 (missed) and 0.3 (extra): made in this order, they cost 1 and 0 IoU."""
    p = torch.tensor([0.6, 0.3], dtype=torch.float64)
    scores = torch.stack([p, 1 - p]).log()[None]
    label = torch.tensor([[0, 1]])
    # class 1: errors 0.4 (extra), 0.3 (missed). IoU 1, then 1/2, then 0: steps 1/2 and 1/2
    assert float(LovaszSoftmax()(scores, label)) == pytest.approx((0.4 + (0.4 + 0.3) / 2) / 2)


def test_hard_predictions_cost_one_minus_scikit_learns_iou() -> None:
    """Of probabilities 0 and 1, Lovász and Tversky with weights of 1 are set functions."""
    generator = torch.Generator().manual_seed(2)
    for classes in (2, 4):
        label = torch.randint(0, classes - (classes == 4), (2, 9, 8), generator=generator)  # with an absent class
        predicted = torch.randint(0, classes, (2, 9, 8), generator=generator)
        label[0, :2] = 255
        scores = 200.0 * F.one_hot(predicted, classes).movedim(-1, 1).double()
        known = label != 255
        present = label[known].unique().tolist()
        iou = jaccard_score(label[known], predicted[known], labels=present, average="macro")
        assert float(LovaszSoftmax()(scores, label)) == pytest.approx(1 - iou)
        assert float(Tversky(1.0, 1.0)(scores, label)) == pytest.approx(1 - iou)
        f1 = f1_score(label[known], predicted[known], labels=present, average="macro")
        assert float(Dice()(scores, label)) == pytest.approx(1 - f1)


def test_lovasz_is_the_extension_of_one_minus_iou() -> None:
    """Its value is the integral over thresholds t of 1 - IoU of the predictions whose errors are above t."""
    scores, label = sample(4, 3)
    scores = scores.detach()
    p = scores.softmax(1)
    known = label != 255
    total = 0.0
    for index in (0, 1, 2):
        truth = (label == index)[known]
        errors = (truth.double() - p[:, index][known]).abs()
        levels = torch.cat([torch.zeros(1), errors.sort().values])
        for low, high in pairwise(levels):
            wrong = errors >= high
            predicted = truth ^ wrong
            iou = (truth & predicted).sum() / (truth | predicted).sum()
            total += float((high - low) * (1 - iou)) / 3
    assert float(LovaszSoftmax()(scores, label)) == pytest.approx(total)


def test_weighted_sum() -> None:
    scores, label = sample()
    criteria = {"cross_entropy": CrossEntropy(), "dice": Dice()}
    expected = 2 * CrossEntropy()(scores, label) + Dice()(scores, label)
    torch.testing.assert_close(WeightedSum(criteria, {"cross_entropy": 2.0})(scores, label), expected)
    config = composed("loss=combined", "loss.criterion.weights.dice=0.5").loss
    torch.testing.assert_close(
        instantiate(config.criterion)(scores, label), CrossEntropy()(scores, label) + 0.5 * Dice()(scores, label)
    )


@every_criterion
def test_gradients_are_those_of_finite_differences(criterion: nn.Module) -> None:
    scores, label = sample(3, 3)
    assert torch.autograd.gradcheck(lambda values: criterion(values, label), scores)


@every_criterion
@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_certain_scores_have_finite_gradients(criterion: nn.Module, size: float) -> None:
    """Right and wrong ones, so far apart that probabilities are 0 and 1 in float32."""
    _, label = sample()
    truth = F.one_hot(label.clamp(max=3), 4).movedim(-1, 1).float()
    for sign in (1, -1):
        scores = (sign * size * truth).requires_grad_()
        loss = criterion(scores, label)
        loss.backward()
        assert torch.isfinite(loss)
        assert scores.grad is not None
        assert torch.isfinite(scores.grad).all()


def test_focal_with_a_small_gamma_has_finite_gradients() -> None:
    _, label = sample()
    certain = (1000.0 * F.one_hot(label.clamp(max=3), 4).movedim(-1, 1).float()).requires_grad_()
    Focal(0.5)(certain, label).backward()
    assert certain.grad is not None
    assert torch.isfinite(certain.grad).all()


@pytest.mark.parametrize("choice", LOSSES)
@pytest.mark.parametrize("grid", ["scores", "image"])
def test_autocast_changes_a_loss_by_rounding_only(choice: str, grid: str) -> None:
    loss = instantiate(composed(f"loss={choice}", f"loss.grid={grid}").loss)
    generator = torch.Generator().manual_seed(3)
    label = torch.randint(0, 3, (2, 33, 33), generator=generator)
    label[:, :5] = 255
    scores = torch.randn(2, 4, 5, 5, generator=generator).bfloat16()
    plain = loss(scores.float(), label)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(scores, label)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, plain, rtol=1e-5, atol=1e-6)


EXACT_ON_DEVICES = [name for name in LOSSES if name != "ohem"]  # which mines the positions of each device


def share_of_a_batch(rank: int, folder: Path) -> None:
    """Compute all losses of one of two devices, which have two images each."""
    distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    torch.save([share_loss(name, slice(2 * rank, 2 * rank + 2)) for name in EXACT_ON_DEVICES], folder / f"{rank}.pt")
    distributed.destroy_process_group()


def share_loss(name: str, images: slice) -> tuple[Tensor, Tensor]:
    """Return the loss of a part of the batch, and its gradient."""
    generator = torch.Generator().manual_seed(4)
    scores = torch.randn(4, 4, 5, 6, generator=generator, dtype=torch.float64)[images].requires_grad_()
    label = torch.randint(0, 2, (4, 5, 6), generator=generator)
    label[0, :4] = 255  # more void on one device
    label[3, 0] = 2  # a class that the other device does not have
    loss = instantiate(composed(f"loss={name}").loss.criterion).train()(scores, label[images])
    loss.backward()
    assert scores.grad is not None
    return loss.detach(), scores.grad


def test_two_devices_have_the_gradient_of_one(tmp_path: Path) -> None:
    """DDP averages gradients of the weights over devices, so those of the scores are to be half as large."""
    processes = [get_context("fork").Process(target=share_of_a_batch, args=(rank, tmp_path)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, (loss, gradient), (other_loss, other_gradient) in zip(EXACT_ON_DEVICES, first, second, strict=True):
        expected, whole = share_loss(name, slice(0, 4))
        torch.testing.assert_close((loss + other_loss) / 2, expected, rtol=1e-6, atol=1e-9, msg=name)
        torch.testing.assert_close(
            torch.cat([gradient, other_gradient]) / 2, whole, rtol=1e-6, atol=1e-9, msg=f"gradient of {name}"
        )
