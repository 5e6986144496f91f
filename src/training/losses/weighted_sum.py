"""Weighted sums of criteria."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn


class WeightedSum(nn.Module):
    """Adds criteria, each multiplied by its weight.

    Args:
        criteria: by name; each takes scores and labels on the same grid.
        weights: weights of the criteria by name, 0 or more; 1 for criteria that are not named.

    Raises:
        ValueError: if there is no criterion, or a weight is negative or names a criterion that does not exist.
    """

    def __init__(self, criteria: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.weights = {name: float(weight) for name, weight in (weights or {}).items()}
        if not criteria:
            raise ValueError("criteria={}: must name one criterion or more")
        for name, weight in self.weights.items():
            if name not in criteria:
                raise ValueError(f"weights.{name}={weight}: no such criterion; the criteria are {', '.join(criteria)}")
            if not weight >= 0:
                raise ValueError(f"weights.{name}={weight}: must be 0 or more")
        self.criteria = nn.ModuleDict(dict(criteria))

    def forward(
        self, scores: Float[Tensor, "batch classes *grid"], label: Integer[Tensor, "batch *grid"]
    ) -> Float[Tensor, ""]:
        losses = [self.weights.get(name, 1.0) * criterion(scores, label) for name, criterion in self.criteria.items()]
        return torch.stack(losses).sum()
