"""The order of samples as a function of seed, epoch and position, so that a run can resume at any batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """A sample's index and the seed of its augmentation; neither depends on worker, process or earlier samples."""

    sample: int
    seed: int


class ResumableSampler(Sampler[Draw]):
    """Draws the samples of one process for one epoch, starting at any batch.

    All processes share one order, and each takes its slice of every global batch. So the batches are the same for any
    number of processes. If there are fewer samples than a batch needs, samples are repeated.

    Args:
        samples: number of samples.
        batch_size: global batch size, over all processes; a multiple of ``processes``.
        seed: seed of the run.
        batches_done: returns the number of batches that the run has finished; called when an iteration starts.
        rank: rank of this process.
        processes: number of processes.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        seed: int,
        batches_done: Callable[[], int] = lambda: 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.samples, self.batch_size, self.seed, self.batches_done = samples, batch_size, seed, batches_done
        self.share = batch_size // processes
        self.first = rank * self.share
        self.batches = max(samples, batch_size) // batch_size

    def __len__(self) -> int:
        """Return the number of samples in an epoch, which is what every iteration yields."""
        return self.batches * self.share

    def __iter__(self) -> Iterator[Draw]:
        done = self.batches_done()
        for number in range(done, done + self.batches):  # may extend into the next epoch
            epoch, batch = divmod(number, self.batches)
            if batch == 0 or number == done:
                order, seeds = self.shuffle(epoch)
            first = batch * self.batch_size + self.first
            for position in range(first, first + self.share):
                yield Draw(int(order[position]), int(seeds[position]))

    def shuffle(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples of an epoch in order, and a seed for each."""
        rng = np.random.default_rng((self.seed, epoch))
        rounds = -(-self.batch_size // self.samples)
        order = np.concatenate([rng.permutation(self.samples) for _ in range(rounds)])
        return order, rng.integers(2**31, size=len(order))
