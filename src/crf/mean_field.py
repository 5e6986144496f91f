"""Mean field (Krähenbühl & Koltun 2011, algorithm 1) with any message function, in plain torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Scores = Float[Tensor, "pixels classes"]


def mean_field(logits: Scores, message: Callable[[Scores], Scores], iterations: int) -> Scores:
    """Q after `iterations` rounds of Q = softmax(logits + message(Q)), from Q = softmax(logits)."""
    q = logits.softmax(1)
    for _ in range(iterations):
        q = message(q).add_(logits).softmax(1)
    return q


def pruned_mean_field(logits: Scores, message: Callable[[Scores], Scores], iterations: int, below: float) -> Scores:
    """The same, but classes whose largest probability is under `below` send and receive no message.

    They stay in the softmax as one constant term, the rest column, so nothing has to be renormalised.
    """
    if below <= 0:
        return mean_field(logits, message, iterations)
    log_p = logits.log_softmax(1)
    kept = log_p.exp().amax(0) >= below
    if bool(kept.all()):
        return mean_field(logits, message, iterations)
    rest = log_p[:, ~kept].logsumexp(1, keepdim=True)
    unary = torch.cat([log_p[:, kept], rest], 1)

    def with_rest(q: Tensor) -> Tensor:
        messages = message(q[:, :-1].contiguous())
        return torch.cat([messages, messages.new_zeros(len(messages), 1)], 1)

    q = mean_field(unary, with_rest, iterations)
    out = torch.empty_like(logits)
    out[:, kept] = q[:, :-1]
    out[:, ~kept] = (log_p[:, ~kept] - rest).exp() * q[:, -1:]
    return out
