"""What happens around training."""

from src.callbacks.archive import ServerArchive
from src.callbacks.crf import CRFRefinement
from src.callbacks.pictures import PredictionPictures
from src.callbacks.progress import StepProgress

__all__ = ["CRFRefinement", "PredictionPictures", "ServerArchive", "StepProgress"]
