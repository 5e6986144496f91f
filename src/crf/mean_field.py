"""Mean field (Krähenbühl & Koltun 2011, algorithm 1) with any message function, in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Scores = Float[Tensor, "pixels classes"]
Softmax = Callable[[Scores], Scores]


def softmax(x: Scores) -> Scores:
    return x.softmax(1)


def softmax_in_place(x: Scores) -> Scores:
    """For rows whose largest value is near 0, since none is subtracted, and without gradients. On a CPU torch's own
    takes rows shorter than one of its vectors (16 floats) a number at a time: this is 9 times as fast for 11 classes.
    """
    x.exp_()
    return x.div_(x.sum(1, keepdim=True))


def mean_field(
    logits: Scores, message: Callable[[Scores], Scores], iterations: int, normalise: Softmax = softmax
) -> Scores:
    """Q after `iterations` rounds of Q = softmax(logits + message(Q)), from Q = softmax(logits)."""
    q = logits.softmax(1)
    for _ in range(iterations):
        q = normalise(message(q).add_(logits))
    return q


def are_kept(log_p: Float[Tensor, "*batch pixels classes"], below: float) -> Bool[Tensor, "*batch classes"]:
    """Whether a class is as probable as `below` somewhere in an image; rounding may not decide it."""
    return log_p.amax(-2) >= math.log(below) - 1e-5


def pruned_mean_field(
    logits: Scores,
    message: Callable[[Scores], Scores],
    iterations: int,
    below: float,
    normalise: Softmax = softmax,
) -> Scores:
    """The same, but classes whose largest probability is under `below` send and receive no message.

    They stay in the softmax as one constant term, the rest column, so nothing has to be renormalised.
    """
    if below <= 0:
        return mean_field(logits, message, iterations, normalise)
    log_p = logits.log_softmax(1)
    kept = are_kept(log_p, below)
    if bool(kept.all()):
        return mean_field(logits, message, iterations, normalise)
    rest = log_p[:, ~kept].logsumexp(1, keepdim=True)
    unary = torch.cat([log_p[:, kept], rest], 1)

    def with_rest(q: Tensor) -> Tensor:
        messages = message(q[:, :-1].contiguous())
        return torch.cat([messages, messages.new_zeros(len(messages), 1)], 1)

    q = mean_field(unary, with_rest, iterations, normalise)
    out = torch.empty_like(logits)
    out[:, kept] = q[:, :-1]
    out[:, ~kept] = (log_p[:, ~kept] - rest).exp() * q[:, -1:]
    return out
