"""The callbacks of training and evaluation."""

from src.training.callbacks.archive import ServerArchive
from src.training.callbacks.best import BestFigures
from src.training.callbacks.crf import CRFRefinement
from src.training.callbacks.finite_loss import FiniteLoss
from src.training.callbacks.last_validation import LastValidation
from src.training.callbacks.pictures import PredictionPictures
from src.training.callbacks.progress import StepProgress
from src.training.callbacks.rates import Rates
from src.training.callbacks.run_checkpoint import RunCheckpoint
from src.training.callbacks.wandb_charts import WandbCharts

__all__ = [
    "BestFigures",
    "CRFRefinement",
    "FiniteLoss",
    "LastValidation",
    "PredictionPictures",
    "Rates",
    "RunCheckpoint",
    "ServerArchive",
    "StepProgress",
    "WandbCharts",
]
