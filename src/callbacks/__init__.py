"""What happens around training."""

from src.callbacks.crf import CRFRefinement
from src.callbacks.pictures import PredictionPictures

__all__ = ["CRFRefinement", "PredictionPictures"]
