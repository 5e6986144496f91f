"""What a sample is and where it comes from."""

from src.data.camvid import CamVid
from src.data.dataset import DatasetError, FileDataset, Sample, SegmentationDataset
from src.data.folder import Folder
from src.data.shapes import Shapes
from src.data.transforms import train_transform
from src.data.voc import VOC12

__all__ = [
    "VOC12",
    "CamVid",
    "DatasetError",
    "FileDataset",
    "Folder",
    "Sample",
    "SegmentationDataset",
    "Shapes",
    "train_transform",
]
