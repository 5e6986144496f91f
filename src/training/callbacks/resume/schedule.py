"""The learning rate's schedule keeps its length."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.errors import UserError
from src.training.lightning_state import fetch_anew, has_begun_to_fetch
from src.training.segmenter import Segmenter


class SameScheduleLength(Callback):
    """Refuses to resume a run whose rate decays over another number of iterations.

    The schedule is restored from the checkpoint: beyond its end the rate would stay at 0.
    """

    def __init__(self) -> None:
        self.fetched_early = False

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        assert isinstance(module, Segmenter)
        before, now = checkpoint["lr_schedulers"][0].get("total_iters"), module.decay_length
        if now is not None and before != now:
            raise UserError(
                f"ckpt={trainer.ckpt_path}: its learning rate decays over {before} iterations (now {now}): go on with "
                "the trainer.max_steps that the run began with, or begin another with init_from="
            )
        self.fetched_early = has_begun_to_fetch(trainer)  # decay_length may have asked how long an epoch is

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.fetched_early:
            fetch_anew(trainer)  # Lightning has restored the run's place in between
            self.fetched_early = False
