"""What happens around training."""

from src.callbacks.crf import CRFRefinement
from src.callbacks.pictures import PredictionPictures
from src.callbacks.progress import StepProgress

__all__ = ["CRFRefinement", "PredictionPictures", "StepProgress"]
