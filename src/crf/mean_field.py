"""Mean-field inference (Krähenbühl & Koltun 2011, algorithm 1) in torch, with any filter."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Rows = Float[Tensor, "pixels classes"]  # scores or probabilities, one row per pixel
Affinity = Float[Tensor, "classes classes"]
Softmax = Callable[[Rows], Rows]


def softmax(x: Rows) -> Rows:
    """Return the softmax over classes."""
    return x.softmax(1)


def softmax_in_place(x: Rows) -> Rows:
    """Return the softmax over classes, written over its input, without gradients.

    The largest value of each row must be near 0, because it is not subtracted. For 11 classes on a CPU, this is 9 times
    as fast as torch's softmax, which processes rows shorter than a vector (16 floats) one number at a time.
    """
    x.exp_()
    return x.div_(x.sum(1, keepdim=True))


def mean_field(
    logits: Rows,
    smooth: Callable[[Rows], Rows],
    iterations: int,
    affinity: Affinity | None = None,
    normalise: Softmax = softmax,
) -> Rows:
    """Return Q after ``iterations`` updates Q = softmax(logits + message), starting from Q = softmax(logits).

    Args:
        logits: pixels x classes.
        smooth: returns the sum of w K Q over the kernels, in a new tensor, which is then changed in place.
        iterations: number of updates.
        affinity: entry (k, l) is how much class l adds to the message of class k; None for the identity (Potts model).
        normalise: the softmax to use in the updates.
    """
    message = mix_classes(smooth, affinity)
    q = logits.softmax(1)
    for _ in range(iterations):
        q = normalise(message(q).add_(logits))
    return q


def mean_field_logits(
    logits: Rows, smooth: Callable[[Rows], Rows], iterations: int, affinity: Affinity | None = None
) -> Rows:
    """Return the logits of the Q that ``mean_field`` returns.

    The logarithm of Q itself has no gradient where Q is rounded to 0.
    """
    if iterations == 0:
        return logits
    q = mean_field(logits, smooth, iterations - 1, affinity)
    return logits + mix_classes(smooth, affinity)(q)


def mix_classes(smooth: Callable[[Rows], Rows], affinity: Affinity | None) -> Callable[[Rows], Rows]:
    """Return a function that maps Q to the message of every class at every pixel."""
    return smooth if affinity is None else lambda q: smooth(q) @ affinity.to(q).T


def find_kept_classes(
    log_p: Float[Tensor, "*batch pixels classes"], below: Float[Tensor, "classes"]
) -> Bool[Tensor, "*batch classes"]:
    """Return a mask of the classes whose log probability reaches ``below`` at some pixel of an image.

    A tolerance of 1e-5 makes the result independent of rounding.
    """
    return log_p.amax(-2) >= below.to(log_p) - 1e-5


def pruned_mean_field(
    logits: Rows,
    smooth: Callable[[Rows], Rows],
    iterations: int,
    below: Float[Tensor, "classes"] | None,
    affinity: Affinity | None = None,
    normalise: Softmax = softmax,
) -> Rows:
    """Return Q like ``mean_field``, but without messages for classes whose log probability is below ``below``.

    These classes stay in the softmax as one column, the rest, which gets no messages. So Q needs no renormalisation.
    """
    if below is None:
        return mean_field(logits, smooth, iterations, affinity, normalise)
    log_p = logits.log_softmax(1)
    kept = find_kept_classes(log_p, below)
    if bool(kept.all()):
        return mean_field(logits, smooth, iterations, affinity, normalise)
    if affinity is not None:
        affinity = affinity[kept.cpu()][:, kept.cpu()]
    message = mix_classes(smooth, affinity)
    rest = log_p[:, ~kept].logsumexp(1, keepdim=True)
    unary = torch.cat([log_p[:, kept], rest], 1)

    def message_with_rest(q: Tensor) -> Tensor:
        messages = message(q[:, :-1].contiguous())
        return torch.cat([messages, messages.new_zeros(len(messages), 1)], 1)

    q = mean_field(unary, message_with_rest, iterations, normalise=normalise)
    out = torch.empty_like(logits)
    out[:, kept] = q[:, :-1]
    out[:, ~kept] = (log_p[:, ~kept] - rest).exp() * q[:, -1:]
    return out
