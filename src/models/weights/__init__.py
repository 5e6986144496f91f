"""Load weights from files: torchvision's, Caffe's and this project's checkpoints."""
