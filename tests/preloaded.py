"""What commands import, for the process that all commands of the tests are forked from.

Nothing that looks at the working folder on import (src.cli), nor W&B: at its exit, the first command would delete the
folder that W&B makes on import.
"""

import gc

import albumentations  # noqa: F401
import hydra  # noqa: F401
import lightning.pytorch  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import torch.utils.tensorboard  # noqa: F401
import torchmetrics  # noqa: F401

import src.data
import src.training.callbacks
import src.training.datamodule
import src.training.segmenter
import src.training.trainer  # noqa: F401

gc.freeze()  # the memory stays shared with the forked processes
