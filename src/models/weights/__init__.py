"""Weights from files: torchvision's, Caffe's, and those of our own runs."""
