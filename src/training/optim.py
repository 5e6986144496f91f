"""The paper's optimiser: one learning rate, multiplied by a factor for each group of parameters."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from src.models import DeepLab

# The released prototxt: x2 and no decay for biases, x10 / x20 for the classifier. The paper has no BatchNorm; here it
# gets x1 and no decay. The branches that MSc adds to a trained network, with their classifiers, have x1 / x2. A CRF
# that the network is trained through is a separate group, without decay.
PAPER_MULTIPLIERS = {
    "weight": 1,
    "bias": 2,
    "norm": 1,
    "classifier_weight": 10,
    "classifier_bias": 20,
    "branch_weight": 1,
    "branch_bias": 2,
    "crf": 1,
}
DECAYED = ("weight", "classifier_weight", "branch_weight")


def named_parameters_by_group(model: DeepLab) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """Return the trainable parameters by group, each as (name, parameter); empty groups are left out."""
    classifier = {id(p) for p in model.head.classifier.parameters()}
    branches = {id(p) for module in model.head.branches for p in module.parameters()}
    crf = {id(p) for p in model.crf.parameters()} if model.crf is not None else set()
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    norm = {id(p) for m in model.modules() if isinstance(m, norms) for p in m.parameters()}
    groups: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = "norm" if id(parameter) in norm else "bias" if parameter.ndim == 1 else "weight"
        if id(parameter) in crf:
            kind = "crf"
        elif kind != "norm":
            role = "branch_" if id(parameter) in branches else "classifier_" if id(parameter) in classifier else ""
            kind = role + kind
        groups.setdefault(kind, []).append((name, parameter))
    return groups


def grouped_optimizer(
    model: DeepLab,
    algorithm: str,
    lr: float,
    weight_decay: float,
    multipliers: Mapping[str, float] | None = None,
    **options: Any,
) -> Optimizer:
    """Return an optimiser over the paper's parameter groups.

    Parameters of groups with multiplier 0 are frozen (``requires_grad`` is set to False).

    Args:
        model: network to train.
        algorithm: name of an optimiser class in ``torch.optim``.
        lr: learning rate of the backbone's weights; the other groups multiply it.
        weight_decay: for weights; biases and normalisation layers have none.
        multipliers: factors that replace those of ``PAPER_MULTIPLIERS``, by group; 0 freezes a group.
        options: other arguments of the algorithm (momentum, betas, ...).

    Raises:
        ValueError: if the algorithm or a group is unknown, a number is out of range, or all groups are frozen.
    """
    optimizer_class = find_optimizer_class(algorithm)
    for name, factor in (multipliers or {}).items():
        if name not in PAPER_MULTIPLIERS:
            raise ValueError(
                f"multipliers.{name}={factor}: no such group; the groups are {', '.join(PAPER_MULTIPLIERS)}"
            )
        check_number(f"multipliers.{name}", factor)
    check_number("lr", lr)
    check_number("weight_decay", weight_decay)
    for name in {"momentum", "dampening"} & set(options):
        check_number(name, options[name], below=1)
    factors: dict[str, float] = {**PAPER_MULTIPLIERS, **(multipliers or {})}
    groups = named_parameters_by_group(model)
    frozen = [parameter for group, pairs in groups.items() if factors[group] == 0 for _, parameter in pairs]
    if len(frozen) == sum(map(len, groups.values())):
        zeros = ", ".join(f"multipliers.{group}=0" for group in groups)
        raise ValueError(f"{zeros}: leaves nothing to train; set one of them above 0")
    for parameter in frozen:
        parameter.requires_grad_(False)  # saves their backward pass
    return optimizer_class(
        [
            {
                "name": group,
                "params": [parameter for _, parameter in pairs],
                "lr": lr * factors[group],
                "weight_decay": weight_decay if group in DECAYED else 0.0,
            }
            for group, pairs in groups.items()
        ],
        lr=lr,
        **options,
    )


def find_optimizer_class(algorithm: str) -> Callable[..., Optimizer]:
    """Return the optimiser of ``torch.optim`` with this name; raise ``ValueError`` if there is none."""
    found = getattr(torch.optim, str(algorithm), None)
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        raise ValueError(f"algorithm={algorithm}: torch.optim has no such optimiser; try SGD or AdamW")
    return found


def check_number(name: str, value: Any, below: float = math.inf) -> None:
    """Raise ``ValueError`` if a value is not a number that is at least 0 and less than ``below``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name}={value}: must be a number")
    if not 0 <= value < below:  # false for NaN too
        raise ValueError(f"{name}={value}: must be 0 or more{f', and below {below:g}' if below < math.inf else ''}")
