"""The paper's parameter groups: multipliers 1, 2, 10 and 20, no decay of biases; the second stage of MSc."""

import pytest
import torch
from hydra.utils import instantiate

from src.training.optim import grouped_optimizer
from src.training.schedules import PolynomialWarmupLR
from tests.models.networks import composed, network

PAPER = {"weight": (1e-3, 5e-4), "bias": (2e-3, 0), "classifier_weight": (1e-2, 5e-4), "classifier_bias": (2e-2, 0)}


def groups_of(*overrides: str) -> dict[str, tuple[float, float, int]]:
    """Return learning rate, decay and number of parameters of each group."""
    optimizer = instantiate(composed(*overrides).optimizer, network("meta", *overrides))
    return {
        g["name"]: (round(g["lr"], 9), g["weight_decay"], sum(p.numel() for p in g["params"]))
        for g in optimizer.param_groups
    }


def test_paper_groups_of_largefov() -> None:
    groups = groups_of("backbone=vgg16", "head=largefov", "optimizer=paper")
    assert {name: values[:2] for name, values in groups.items()} == PAPER
    assert groups["classifier_weight"][2] == 1024 * 21
    assert groups["classifier_bias"][2] == 21
    assert groups["bias"][2] == 64 * 2 + 128 * 2 + 256 * 3 + 512 * 6 + 1024 * 2


def test_batch_norm_has_a_group_without_decay() -> None:
    groups = groups_of("backbone=vgg16_bn", "head=largefov", "optimizer=paper")
    assert groups["norm"][:2] == (1e-3, 0)
    assert groups["norm"][2] == 2 * (64 * 2 + 128 * 2 + 256 * 3 + 512 * 6 + 1024 * 2)


def test_second_stage_moves_the_branches_alone() -> None:
    groups = groups_of("experiment=voc12_msc_largefov")
    for name, (rate, decay, _) in groups.items():
        factor = {"branch_weight": 1, "branch_bias": 2}.get(name, 0)
        assert rate == factor * 1e-3
        assert decay == (5e-4 if name.endswith("weight") else 0)
    inputs = (3, 64, 128, 256, 512)
    assert groups["branch_weight"][2] == sum(128 * 9 * c + 128 * 128 + 21 * 128 for c in inputs)


def test_a_crf_has_a_group_without_decay() -> None:
    groups = groups_of("experiment=crf_rnn", "optimizer.lr=0.01", "optimizer.multipliers.crf=3")
    assert groups["crf"] == (0.03, 0, 2 + 21 + 21 * 21)  # kernel weights, bias, compatibility
    assert "crf" not in groups_of("head=largefov")


def test_a_step_of_the_second_stage_leaves_the_trunk_and_its_dropout() -> None:
    overrides = ("backbone=vgg11", "backbone.width=0.0625", "head=msc_largefov", "optimizer=second_stage")
    torch.manual_seed(0)
    model = network("cpu", *overrides).train()
    optimizer = instantiate(composed(*overrides).optimizer, model)
    before = {name: p.clone() for name, p in model.named_parameters()}
    image = torch.randint(0, 256, (1, 3, 33, 33), dtype=torch.uint8)
    model.head.trunk.dropout.p = 0.5
    for branch in model.head.branches:
        branch.dropout.p = 0.0  # so that only the trunk can make a difference
    assert not torch.equal(model(image), model(image))
    model(image).square().sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        name for name in before if name.startswith("head.scales.")
    }
    optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all(name.startswith("head.scales.") for name in moved)


def test_frozen_norms_have_no_group_and_no_new_statistics() -> None:
    overrides = ("backbone=resnet50", "backbone.width=0.0625", "head=largefov", "model.frozen_norm=true")
    model = network("cpu", *overrides).train()
    assert "norm" not in {g["name"] for g in instantiate(composed(*overrides).optimizer, model).param_groups}
    before = model.backbone.bn1.running_mean.clone()
    model(torch.randint(0, 256, (2, 3, 33, 33), dtype=torch.uint8))
    assert torch.equal(model.backbone.bn1.running_mean, before)
    assert model.head.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "Sgd"}, "^algorithm=Sgd: torch.optim has no such optimiser"),
        ({"algorithm": "SGD", "multipliers": {"biases": 2}}, r"^multipliers\.biases=2: no such group"),
        (
            {"algorithm": "SGD", "multipliers": composed("optimizer=second_stage").optimizer.multipliers},
            "^multipliers.weight=0, multipliers.bias=0, .*: leaves nothing to train",
        ),
        ({"multipliers": {"bias": -1}}, r"^multipliers\.bias=-1: must be 0 or more$"),
        ({"lr": -0.1}, "^lr=-0.1: must be 0 or more$"),
        ({"lr": float("nan")}, "^lr=nan: must be 0 or more$"),
        ({"lr": None}, "^lr=None: must be a number$"),
        ({"weight_decay": -1}, "^weight_decay=-1: must be 0 or more$"),
        ({"weight_decay": True}, "^weight_decay=True: must be a number$"),
        ({"momentum": 1}, "^momentum=1: must be 0 or more, and below 1$"),
        ({"algorithm": "RMSprop", "momentum": -0.5}, "^momentum=-0.5: must be 0 or more, and below 1$"),
        ({"momentum": 0.9, "dampening": 2}, "^dampening=2: must be 0 or more, and below 1$"),
    ],
)
def test_mistakes_are_named(options: dict, message: str) -> None:
    model = network("meta", "backbone=vgg11", "head=largefov")
    with pytest.raises(ValueError, match=message):
        grouped_optimizer(model, **{"algorithm": "SGD", "lr": 1e-3, "weight_decay": 0.0, **options})


@pytest.mark.parametrize(
    "arguments", [{"total_iters": 0}, {"power": 0}, {"power": -1}, {"power": float("nan")}, {"warmup": -1}]
)
def test_a_schedule_that_cannot_be_computed_is_refused(arguments: dict) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"^{name}={value}: must be"):
        PolynomialWarmupLR(optimizer, **{"total_iters": 4, **arguments})


def test_a_warm_up_may_be_as_long_as_the_schedule_but_not_longer() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    PolynomialWarmupLR(optimizer, total_iters=4, warmup=4)
    with pytest.raises(ValueError, match=r"^warmup=5: is longer than the schedule, total_iters=4;"):
        PolynomialWarmupLR(optimizer, total_iters=4, warmup=5)
