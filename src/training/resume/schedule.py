"""Keep the length of the learning-rate schedule across a resume."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.system.errors import UserError
from src.training.lightning_state import has_begun_to_fetch, restart_loader
from src.training.segmenter import Segmenter


class SameScheduleLength(Callback):
    """Refuses to resume a run with another length of the learning-rate schedule.

    The schedule is restored from the checkpoint; after its end, the learning rate would stay at 0.
    """

    def __init__(self) -> None:
        self.fetched_early = False

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        assert isinstance(module, Segmenter)
        before, now = checkpoint["lr_schedulers"][0].get("total_iters"), module.decay_length
        if now is not None and before != now:
            raise UserError(
                f"ckpt={trainer.ckpt_path}: its learning rate decays over {before} steps (now {now}): resume it with "
                "the trainer.max_steps that the run started with, or start a new run with init_from="
            )
        self.fetched_early = has_begun_to_fetch(trainer)  # decay_length may have opened the loader

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.fetched_early:
            restart_loader(trainer)  # only now has Lightning restored the position of the run
            self.fetched_early = False
