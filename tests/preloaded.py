"""What commands import, for the process that all commands of the tests are forked from.

Nothing that looks at the working folder on import (src.cli), nor W&B: at its exit, the first command would delete the
folder that W&B makes on import. Composing once fills the caches of Hydra's parsers.
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
