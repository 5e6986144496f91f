"""What happens around training."""

from src.callbacks.archive import ServerArchive
from src.callbacks.crf import CRFRefinement
from src.callbacks.last_validation import LastValidation
from src.callbacks.pictures import PredictionPictures
from src.callbacks.progress import StepProgress

__all__ = ["CRFRefinement", "LastValidation", "PredictionPictures", "ServerArchive", "StepProgress"]
