"""The network, in plain ``torch.nn``: it can be used without the rest of the framework."""

from src.models.backbones.backbone import Backbone
from src.models.backbones.resnet import ResNet
from src.models.backbones.timm_backbone import Timm
from src.models.backbones.vgg import VGG
from src.models.crf_layer import CRFLayer
from src.models.deeplab import DeepLab
from src.models.heads.full_resolution import FullResolutionHead
from src.models.heads.fully_connected import FCHead
from src.models.heads.head import Head
from src.models.heads.msc import MSc
from src.models.image_to_scores import ImageToLabels, ImageToScores
from src.models.inference import Inference

__all__ = [
    "VGG",
    "Backbone",
    "CRFLayer",
    "DeepLab",
    "FCHead",
    "FullResolutionHead",
    "Head",
    "ImageToLabels",
    "ImageToScores",
    "Inference",
    "MSc",
    "ResNet",
    "Timm",
]
