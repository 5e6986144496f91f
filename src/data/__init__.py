"""Samples, data sets and augmentation."""

from src.data.dataset import DatasetError, Sample, SegmentationDataset
from src.data.file_dataset import FileDataset
from src.data.sets.ade20k import ADE20K
from src.data.sets.camvid import CamVid
from src.data.sets.cityscapes import Cityscapes
from src.data.sets.folder import Folder
from src.data.sets.shapes import Shapes
from src.data.sets.voc import VOC12
from src.data.transforms import train_transform

__all__ = [
    "ADE20K",
    "VOC12",
    "CamVid",
    "Cityscapes",
    "DatasetError",
    "FileDataset",
    "Folder",
    "Sample",
    "SegmentationDataset",
    "Shapes",
    "train_transform",
]
