"""Losses: the criteria, and the grid that they are computed on."""

from src.training.losses.cross_entropy import ClassBalancedCrossEntropy, CrossEntropy, Focal, OHEMCrossEntropy
from src.training.losses.overlap import Dice, LovaszSoftmax, Tversky
from src.training.losses.segmentation_loss import SegmentationLoss
from src.training.losses.weighted_sum import WeightedSum

__all__ = [
    "ClassBalancedCrossEntropy",
    "CrossEntropy",
    "Dice",
    "Focal",
    "LovaszSoftmax",
    "OHEMCrossEntropy",
    "SegmentationLoss",
    "Tversky",
    "WeightedSum",
]
