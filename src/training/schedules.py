"""Learning-rate schedules that torch lacks."""

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class PolynomialWarmupLR(LRScheduler):
    """Multiplies the learning rate by (1 - t / total_iters) ^ power, and by (t + 1) / warmup during the warm-up.

    t is the number of completed steps. The first factor is that of ``torch.optim.lr_scheduler.PolynomialLR``, the
    second is the gradual warm-up of Goyal et al. (2017).

    Args:
        optimizer: the optimiser; its groups keep the ratios of their learning rates.
        total_iters: number of steps after which the learning rate is 0.
        power: power of the decay.
        warmup: number of warm-up steps; 0 for none.
        last_epoch: as in ``torch.optim.lr_scheduler``; -1 for a new schedule.

    Raises:
        ValueError: if ``total_iters`` or ``power`` is not positive, or ``warmup`` is not in 0..total_iters.
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int, power: float = 0.9, warmup: int = 100, last_epoch: int = -1
    ) -> None:
        if total_iters < 1:
            raise ValueError(f"total_iters={total_iters}: must be 1 or more")
        if not power > 0:  # the last step computes 0 ^ power
            raise ValueError(f"power={power}: must be above 0")
        if warmup < 0:
            raise ValueError(f"warmup={warmup}: must be 0 or more")
        if warmup > total_iters:
            raise ValueError(
                f"warmup={warmup}: is longer than the schedule, total_iters={total_iters}; give fewer steps"
            )
        self.total_iters, self.power, self.warmup = total_iters, power, warmup
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of each group."""
        decay = (1 - min(self.last_epoch, self.total_iters) / self.total_iters) ** self.power
        share = min(1, (self.last_epoch + 1) / self.warmup) if self.warmup else 1
        return [share * decay * lr for lr in self.base_lrs]
