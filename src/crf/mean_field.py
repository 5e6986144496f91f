"""Mean field (Krähenbühl & Koltun 2011, algorithm 1) with any message function, in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

Scores = Float[Tensor, "pixels classes"]
Message = Callable[[Scores], Iterable[Scores]]


def mean_field(logits: Scores, message: Message, iterations: int) -> Scores:
    """Q after `iterations` rounds of Q = softmax(logits + message(Q)), from Q = softmax(logits); no gradients.

    message(Q) gives the messages of the first pixels, then of those after them, and so on, all new tensors; it has
    read Q before it gives the first of them. What takes few pixels at a time works in the processor's cache.
    """
    q = logits.softmax(1)
    for _ in range(iterations):
        begin = 0
        for part in message(q):
            end = begin + len(part)
            torch.softmax(part.add_(logits[begin:end]), 1, out=q[begin:end])
            begin = end
    return q


def pruned_mean_field(logits: Scores, message: Message, iterations: int, below: float) -> Scores:
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

    def with_rest(q: Scores) -> Iterator[Scores]:
        for part in message(q[:, :-1].contiguous()):
            yield pad(part, (0, 1))

    q = mean_field(unary, with_rest, iterations)
    out = torch.empty_like(logits)
    out[:, kept] = q[:, :-1]
    out[:, ~kept] = (log_p[:, ~kept] - rest).exp() * q[:, -1:]
    return out
