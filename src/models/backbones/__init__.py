"""Backbones, which turn an image into feature maps at output stride 8."""
