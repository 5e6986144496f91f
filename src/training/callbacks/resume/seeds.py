"""Random numbers that depend on the step alone."""

import random

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from src.training.lightning_state import batch_number


class StepSeeds(Callback):
    """Seeds every generator before each iteration from seed, batch and process.

    Dropout and the like are drawn alike however often the run was stopped, and a checkpoint needs no generator's state.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: object, batch_idx: int) -> None:
        key = (self.seed, batch_number(trainer), trainer.global_rank)
        state = int(np.random.SeedSequence(key).generate_state(1)[0])
        torch.manual_seed(state)
        np.random.seed(state)
        random.seed(state)
