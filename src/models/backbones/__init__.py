"""Backbones: an image in, feature maps at output stride 8 out."""
