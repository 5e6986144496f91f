"""What a sample is and where it comes from."""

from src.data.ade20k import ADE20K
from src.data.camvid import CamVid
from src.data.cityscapes import Cityscapes
from src.data.dataset import DatasetError, Sample, SegmentationDataset
from src.data.files import FileDataset
from src.data.folder import Folder
from src.data.shapes import Shapes
from src.data.transforms import train_transform
from src.data.voc import VOC12

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
