"""What commands import, for the process that all commands of the tests are forked from.

W&B is not among it: at its exit, the first command would delete the folder that W&B makes on import.
"""

import gc

import albumentations  # noqa: F401
import hydra  # noqa: F401
import lightning.pytorch  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import torch.utils.tensorboard  # noqa: F401
import torchmetrics  # noqa: F401

import src.cli.command
import src.data
import src.evaluation.evaluate
import src.prediction.predict
import src.reporting.report
import src.training.callbacks
import src.training.fit
import src.tuning.tune  # noqa: F401

gc.freeze()  # the memory stays shared with the forked processes
