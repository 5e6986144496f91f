"""Learn the CRF's per-class parameters with gradients."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from src.crf import Parameters
from src.crf.engines.torch_engine import build_kernels
from src.crf.inputs import upsample
from src.crf.lattice.permutohedral import Lattice
from src.crf.mean_field import mean_field
from src.models.geometry import score_stride
from src.system.errors import UserError
from src.system.progress import tracked
from src.training.losses.overlap import overlap_sums, tversky_loss
from src.tuning.search import ScoredImage, Trial, Values

log = logging.getLogger(__name__)

LEARNED = ("bias", "compatibility")
SUBSAMPLING = 2  # learn from every second pixel in each direction, which takes a quarter of the time
ITERATIONS = 5  # mean-field updates while learning, as in Zheng et al. 2015


class Example(NamedTuple):
    """Every second pixel of an image to learn from."""

    kernel: Lattice  # both kernels with their weights
    logits: Float[Tensor, "pixels classes"]
    label: Integer[Tensor, " pixels"]


class Gradient:
    """Learns ``bias`` and ``compatibility`` by Adam through unrolled mean field (Zheng et al., ICCV 2015).

    The loss is one minus the mean IoU of a batch, with probabilities instead of labels, because it weights rare classes
    like all others. The kernels and their weights are fixed. After each round, the parameters are evaluated like any
    configuration of a search.

    Args:
        learn: bias, compatibility, or both.
        steps: number of updates.
        rounds: number of times that the parameters are evaluated.
        lr: initial learning rate; it decreases linearly to 0.
        batch_size: images per update.
        seed: seed of the order of the images.

    Raises:
        UserError: if a value is not valid.
    """

    def __init__(self, learn: Sequence[str], steps: int, rounds: int, lr: float, batch_size: int, seed: int) -> None:
        if isinstance(learn, str) or not learn or not set(learn) <= set(LEARNED):
            raise UserError(f"learn={learn}: must be a list of {' and '.join(LEARNED)}")
        for name, value in {"steps": steps, "rounds": rounds, "batch_size": batch_size}.items():
            if type(value) is not int or value < 1:
                raise UserError(f"{name}={value}: must be a whole number, 1 or more")
        if rounds > steps:
            raise UserError(f"rounds={rounds}: must be at most steps={steps}")
        if not 0 < lr < 10:
            raise UserError(f"lr={lr}: must be a learning rate, 0 < lr < 10")
        self.learn, self.steps, self.rounds = tuple(learn), steps, rounds
        self.lr, self.batch_size, self.seed = lr, batch_size, seed

    def propose(
        self, images: Sequence[ScoredImage], crf: Mapping[str, Any], done: Sequence[Trial]
    ) -> Iterator[tuple[Values, int]]:
        """Yield the parameters at the start and after each round.

        Args:
            images: images to learn from.
            crf: initial parameters.
            done: the results of the parameters yielded so far.
        """
        p = Parameters(**{name: value for name, value in crf.items() if name != "engine"})
        classes = len(images[0].scores)
        p.check_classes(classes)
        bias = torch.zeros(classes) if p.bias is None else torch.tensor(p.bias)
        costs = 1 - torch.eye(classes) if p.compatibility is None else torch.tensor(p.compatibility)
        learned = {"bias": bias, "compatibility": costs}
        learned = {name: values.requires_grad_() for name, values in learned.items() if name in self.learn}
        optimizer = torch.optim.Adam(learned.values(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / self.steps)
        yield plain_numbers(learned), 0
        examples = [make_example(image, p) for image in tracked(images, "lattices")]
        order = batches(len(examples), self.batch_size, self.seed)
        ends = [round(self.steps * (i + 1) / self.rounds) for i in range(self.rounds)]
        losses = []
        for step in tracked(range(1, self.steps + 1), "learning"):
            loss = soft_iou_loss([(refine(examples[i], bias, costs), examples[i].label) for i in next(order)])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if step in ends:
                yield plain_numbers(learned), ends.index(step) + 1
                log.info("step %d: loss %.3f, mean IoU %.2f", step, np.mean(losses), 100 * done[-1].miou)
                losses.clear()


def make_example(image: ScoredImage, p: Parameters) -> Example:
    """Return every second pixel of an image, with kernels of half the width."""
    narrower = Parameters(p.w1, (p.sy / SUBSAMPLING, p.sx / SUBSAMPLING), p.srgb, p.w2, p.sg / SUBSAMPLING)
    stride = score_stride(image.scores.shape[-2:], image.image.shape[-2:])
    logits = upsample(image.scores.float(), (image.image.shape[1], image.image.shape[2]), stride)
    every = slice(None, None, SUBSAMPLING)
    pixels, logits, label = (part[..., every, every] for part in (image.image.float(), logits, image.label))
    kernel = reduce(add, build_kernels(pixels[None], narrower, (p.w1, p.w2)))
    return Example(kernel, logits.reshape(len(logits), -1).T.contiguous(), label.reshape(-1).long())


def refine(
    example: Example, bias: Float[Tensor, " classes"], costs: Float[Tensor, "classes classes"]
) -> Float[Tensor, "pixels classes"]:
    """Return Q of an example; of the costs, the symmetric part counts."""
    return mean_field(example.logits + bias, example.kernel.filter, ITERATIONS, affinity=-(costs + costs.T) / 2)


def soft_iou_loss(
    batch: Sequence[tuple[Float[Tensor, "pixels classes"], Integer[Tensor, " pixels"]]],
) -> Float[Tensor, ""]:
    """Return one minus the mean IoU over the classes that a batch has, with probabilities in place of labels."""
    q, label = (torch.cat(parts) for parts in zip(*batch, strict=True))
    return tversky_loss(overlap_sums(q.T, label), alpha=1, beta=1)


def batches(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Yield batches of indices without end; each pass over all of them has another order."""
    generator = np.random.default_rng(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            waiting += generator.permutation(count).tolist()
        yield waiting[:size]
        waiting = waiting[size:]


def plain_numbers(learned: Mapping[str, Tensor]) -> Values:
    """Return parameters as lists of numbers, rounded to two digits to keep presets readable."""
    values: Values = {}
    for name, tensor in learned.items():
        tensor = tensor.detach()
        if tensor.ndim == 2:
            tensor = (tensor + tensor.T) / 2
        values[name] = tensor.double().mul(100).round().div(100).add(0.0).tolist()
    return values
