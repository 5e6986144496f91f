"""Load the layers of a .caffemodel file, such as the authors' released networks, by their names."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.backbones.backbone import copy_weight
from src.models.backbones.vgg import VGG
from src.models.deeplab import DeepLab
from src.models.heads.msc import MSc
from src.models.weights.caffemodel import read_caffemodel
from src.models.weights.decimation import find_fc_head, load_fc


def load_caffe(model: DeepLab, path: Path) -> list[str]:
    """Load a .caffemodel file: conv1_1 to conv5_3, fc6, fc7, the classifier fc8, and the branches of MSc.

    fc6 and fc7 may have the head's shape, or VGG's, which are decimated. A classifier for another number of classes
    is not loaded.

    Returns:
        The names of what was loaded.

    Raises:
        UserError: if the file cannot be read, or its layers do not fit the network.
    """
    if not isinstance(model.backbone, VGG) or any(isinstance(m, nn.BatchNorm2d) for m in model.backbone.modules()):
        raise UserError(f"{path}: a .caffemodel file fits a VGG-16 without BatchNorm only; choose backbone=vgg16")
    found = read_caffemodel(path)
    layers = {name: [torch.from_numpy(b) for b in blobs] for name, blobs in found.items() if len(blobs) == 2}
    convs = model.backbone.convs_by_name()
    if missing := convs.keys() - layers.keys():
        raise UserError(
            f"{path}: has no layer {', '.join(sorted(missing))} with weight and bias; it has {', '.join(layers)}"
        )
    for name, conv in convs.items():
        copy_layer(conv, layers.pop(name), name)
    loaded = ["backbone"]
    if (head := find_fc_head(model)) is None:
        return loaded
    if "fc6" in layers and "fc7" in layers:
        (fc6, fc6_bias), (fc7, fc7_bias) = layers.pop("fc6"), layers.pop("fc7")
        if fc6.shape == head.fc6.weight.shape:
            copy_layer(head.fc6, [fc6, fc6_bias], "fc6")
            copy_layer(head.fc7, [fc7, fc7_bias], "fc7")
        else:
            load_fc(head, fc6, fc6_bias, fc7, fc7_bias)
        loaded += ["fc6", "fc7"]
    for name in [name for name in layers if name.startswith("fc8")]:
        if layers[name][0].shape == head.fc8.weight.shape:
            copy_layer(head.fc8, layers.pop(name), name)
            loaded.append(name)
            break
    if isinstance(model.head, MSc) and layers:
        loaded += load_caffe_branches(model.head, layers)
    return loaded


def load_caffe_branches(head: MSc, layers: Mapping[str, list[Tensor]]) -> list[str]:
    """Load the layers of MSc's branches, which are told apart by their input channels (3, 64, 128, 256, 512).

    Raises:
        UserError: if not all branches are in the file.
    """
    one = head.branches[0]
    first = [name for name, (weight, *_) in layers.items() if weight.shape[2:] == (3, 3)]
    hidden = [name for name, (weight, *_) in layers.items() if weight.shape == one.conv2.weight.shape]
    scores = [name for name, (weight, *_) in layers.items() if weight.shape == one.score.weight.shape]
    if not len(first) == len(hidden) == len(scores) == len(head.branches):
        raise UserError(f"the {len(head.branches)} branches of MSc cannot be found among {', '.join(layers)}")
    by_channels = {branch.conv1.in_channels: branch for branch in head.branches}
    for names in zip(first, hidden, scores, strict=True):
        channels = layers[names[0]][0].shape[1]
        if channels not in by_channels:
            raise UserError(f"{names[0]} has {channels} input channels; no branch of MSc has so many")
        branch = by_channels.pop(channels)
        for conv, name in zip((branch.conv1, branch.conv2, branch.score), names, strict=True):
            copy_layer(conv, layers[name], name)
    return ["branches"]


def copy_layer(conv: nn.Conv2d, blobs: Iterable[Tensor], name: str) -> None:
    """Copy weight and bias into a convolution; Caffe may store the bias as 1 x 1 x 1 x n."""
    weight, bias = blobs
    copy_weight(conv.weight, weight, name)
    copy_weight(conv.bias, bias.flatten(), f"{name}'s bias")
