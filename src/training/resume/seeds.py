"""Make random numbers depend only on the step."""

import random

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from src.training.lightning_state import get_batch_index


class StepSeeds(Callback):
    """Seeds every random generator before each batch, from the run's seed, the batch and the process.

    Dropout then draws the same numbers however often the run was stopped, and a checkpoint need not store the states
    of the generators.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: object, batch_idx: int) -> None:
        key = (self.seed, get_batch_index(trainer), trainer.global_rank)
        state = int(np.random.SeedSequence(key).generate_state(1)[0])
        torch.manual_seed(state)
        np.random.seed(state)
        random.seed(state)
