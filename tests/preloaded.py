"""Import what commands import, in the process that all commands of the tests are forked from.

Modules that look at the working folder on import (src.cli) are left out, and W&B: on import it makes a folder, which
the first command would delete at its exit. Composing once fills the caches of Hydra's parsers.
"""

import gc
from pathlib import Path

import albumentations  # noqa: F401
import hydra
import lightning.pytorch  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import torch.utils.tensorboard  # noqa: F401
import torchmetrics  # noqa: F401

import src.data
import src.training.callbacks
import src.training.datamodule
import src.training.segmenter
import src.training.trainer  # noqa: F401

with hydra.initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
    hydra.compose("train")

gc.freeze()  # the memory stays shared with the forked processes
