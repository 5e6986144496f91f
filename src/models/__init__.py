"""The network: plain torch.nn, usable without the rest of the framework."""

from src.models.backbone import Backbone
from src.models.deeplab import DeepLab
from src.models.full_resolution import FullResolutionHead
from src.models.head import FCHead, Head
from src.models.image_to_scores import ImageToScores
from src.models.inference import Inference
from src.models.msc import MSc
from src.models.resnet import ResNet
from src.models.timm_backbone import Timm
from src.models.vgg import VGG

__all__ = [
    "VGG",
    "Backbone",
    "DeepLab",
    "FCHead",
    "FullResolutionHead",
    "Head",
    "ImageToScores",
    "Inference",
    "MSc",
    "ResNet",
    "Timm",
]
