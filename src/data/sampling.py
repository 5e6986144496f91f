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
        """Of a whole epoch, wherever iteration begins: Lightning counts the batches behind it itself."""
        return self.batches * self.share

    def __iter__(self) -> Iterator[Draw]:
        epoch, start = divmod(self.behind(), self.batches)
        rng = np.random.default_rng((self.seed, epoch))
        rounds = -(-self.batch_size // self.samples)
        order = np.concatenate([rng.permutation(self.samples) for _ in range(rounds)])
        seeds = rng.integers(2**31, size=len(order))
        for batch in range(start, self.batches):
            for place in range(batch * self.batch_size + self.first, batch * self.batch_size + self.first + self.share):
                yield Draw(int(order[place]), int(seeds[place]))
