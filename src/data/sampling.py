"""Which sample comes when: a function of seed, epoch and position, so that a run can go on anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """A sample, and what its augmentation is drawn from; no worker, no process and no past has a part in either."""

    sample: int
    seed: int


class ResumableSampler(Sampler[Draw]):
    """One process's samples of one epoch, batch after batch, from a given batch on.

    All processes share one order; of each global batch every process takes its own slice, so that any number of
    processes sees the same batches. A set smaller than the batch is drawn from more than once.

    Args:
        samples: how many there are.
        batch_size: of all processes together; a multiple of ``processes``.
        seed: of the run.
        behind: gives the number of batches that the run has behind it; asked whenever iteration begins.
        rank: of this process.
        processes: how many there are.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        seed: int,
        behind: Callable[[], int] = lambda: 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.samples, self.batch_size, self.seed, self.behind = samples, batch_size, seed, behind
        self.share = batch_size // processes
        self.first = rank * self.share
        self.batches = max(samples, batch_size) // batch_size

    def __len__(self) -> int:
        """Return the number of samples of an epoch, which is what an iteration yields wherever it begins."""
        return self.batches * self.share

    def __iter__(self) -> Iterator[Draw]:
        behind = self.behind()
        for number in range(behind, behind + self.batches):  # into the next epoch, if iteration begins within one
            epoch, batch = divmod(number, self.batches)
            if batch == 0 or number == behind:
                order, seeds = self.shuffle(epoch)
            first = batch * self.batch_size + self.first
            for place in range(first, first + self.share):
                yield Draw(int(order[place]), int(seeds[place]))

    def shuffle(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples of an epoch in their order, and a seed for each."""
        rng = np.random.default_rng((self.seed, epoch))
        rounds = -(-self.batch_size // self.samples)
        order = np.concatenate([rng.permutation(self.samples) for _ in range(rounds)])
        return order, rng.integers(2**31, size=len(order))
