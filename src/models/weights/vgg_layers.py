"""Load VGG's layers by Caffe's names: conv1_1 to conv5_3, fc6, fc7, fc8, and the branches of MSc."""

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from src.models.backbones.backbone import copy_weight
from src.models.backbones.vgg import VGG
from src.models.deeplab import DeepLab
from src.models.heads.msc import MSc
from src.models.weights.decimation import find_fc_head, load_fc
from src.system.errors import UserError

Layers = Mapping[str, Sequence[Tensor]]  # [weight, bias] by Caffe's names, in Caffe's layout


def find_vgg_convs(model: DeepLab) -> dict[str, nn.Conv2d]:
    """Return the convolutions of a VGG without BatchNorm by Caffe's names.

    Raises:
        UserError: if the network has another backbone.
    """
    if not isinstance(model.backbone, VGG) or model.backbone.batch_norm:
        raise UserError("files of Caffe and Keras fit a VGG without BatchNorm only; choose backbone=vgg16")
    return model.backbone.convs_by_name()


def load_vgg_layers(model: DeepLab, layers: Layers) -> list[str]:
    """Load all convolutions of VGG and, if present, fc6, fc7, the classifier fc8 and the branches of MSc.

    fc6 and fc7 may have the head's shape, or VGG's shape, from which they are decimated. A classifier for another
    number of classes is not loaded.

    Returns:
        The names of what was loaded.

    Raises:
        UserError: if the layers do not fit the network.
    """
    convs = find_vgg_convs(model)
    left = {name: blobs for name, blobs in layers.items() if len(blobs) == 2}
    if missing := convs.keys() - left.keys():
        has = f"it has {', '.join(left)}" if left else "it has none"
        raise UserError(f"has no layer {', '.join(sorted(missing))} with weight and bias; {has}")
    if surplus := {name for name in left if re.fullmatch(r"conv\d_\d", name)} - convs.keys():
        raise UserError(
            f"has layers that the network lacks, such as {min(surplus)}; choose the backbone that the file was made for"
        )
    for name, conv in convs.items():
        copy_layer(conv, left.pop(name), name)
    loaded = ["backbone"]
    if (head := find_fc_head(model)) is None:
        return loaded
    if "fc6" in left and "fc7" in left:
        (fc6, fc6_bias), (fc7, fc7_bias) = left.pop("fc6"), left.pop("fc7")
        if fc6.shape == head.fc6.weight.shape:
            copy_layer(head.fc6, [fc6, fc6_bias], "fc6")
            copy_layer(head.fc7, [fc7, fc7_bias], "fc7")
        else:
            load_fc(head, fc6, fc6_bias, fc7, fc7_bias)
        loaded += ["fc6", "fc7"]
    for name in [name for name in left if name.startswith("fc8")]:
        if left[name][0].shape == head.fc8.weight.shape:
            copy_layer(head.fc8, left.pop(name), name)
            loaded.append(name)
            break
    if isinstance(model.head, MSc) and any(weight.shape[2:] == (3, 3) for weight, _ in left.values()):
        loaded += load_branches(model.head, left)
    return loaded


def load_branches(head: MSc, layers: Layers) -> list[str]:
    """Load the layers of MSc's branches, identified by their input channels (3, 64, 128, 256, 512).

    Raises:
        UserError: if the file does not contain all branches.
    """
    branch = head.branches[0]
    first = [name for name, (weight, *_) in layers.items() if weight.shape[2:] == (3, 3)]
    hidden = [name for name, (weight, *_) in layers.items() if weight.shape == branch.conv2.weight.shape]
    scores = [name for name, (weight, *_) in layers.items() if weight.shape == branch.score.weight.shape]
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
