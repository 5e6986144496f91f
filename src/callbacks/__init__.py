"""What happens around training."""

from src.callbacks.archive import ServerArchive
from src.callbacks.crf import CRFRefinement
from src.callbacks.guards import FiniteLoss
from src.callbacks.last_validation import LastValidation
from src.callbacks.pictures import PredictionPictures
from src.callbacks.progress import StepProgress
from src.callbacks.resume import ExactResume, RunCheckpoint

__all__ = [
    "CRFRefinement",
    "ExactResume",
    "FiniteLoss",
    "LastValidation",
    "PredictionPictures",
    "RunCheckpoint",
    "ServerArchive",
    "StepProgress",
]
