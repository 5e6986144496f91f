"""What happens around training."""

from src.callbacks.archive import ServerArchive
from src.callbacks.best import BestFigures
from src.callbacks.checkpoint import RunCheckpoint
from src.callbacks.crf import CRFRefinement
from src.callbacks.guards import FiniteLoss
from src.callbacks.last_validation import LastValidation
from src.callbacks.pictures import PredictionPictures
from src.callbacks.progress import StepProgress
from src.callbacks.rates import Rates
from src.callbacks.resume import ExactResume
from src.callbacks.wandb_charts import WandbCharts

__all__ = [
    "BestFigures",
    "CRFRefinement",
    "ExactResume",
    "FiniteLoss",
    "LastValidation",
    "PredictionPictures",
    "Rates",
    "RunCheckpoint",
    "ServerArchive",
    "StepProgress",
    "WandbCharts",
]
