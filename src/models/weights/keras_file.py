"""Read VGG's layers from Keras's HDF5 files, converted to Caffe's names, axis order and order of fc6's inputs.

Keras has written several layouts. In each, a layer is a group with two arrays, kernel and bias:

    block1_conv1/block1_conv1_W_1:0                 keras-applications, 2016
    block1_conv1/block1_conv1/kernel:0              Keras 2, in model_weights/ if the whole model was saved
    layers/conv2d/vars/0, layers/conv2d_1/vars/0    Keras 3; nested models add their names in front: block1/layers/...

Keras 3 numbers the layers of each class in the order of the model. Newer versions also store the name of the layer, as
an attribute of ``vars``.

Source: keras-team/keras, keras/src/saving/saving_lib.py (_save_container_state) and legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.models.weights.decimation import FC_CHANNELS, FC_INPUT
from src.system.errors import UserError

if TYPE_CHECKING:
    import h5py

MAX_ELEMENTS = FC_CHANNELS * int(np.prod(FC_INPUT))  # elements of the largest layer of any VGG, fc6


class KerasLayer(NamedTuple):
    """A layer of a file; its arrays are not read yet.

    Attributes:
        path: path of the layer's group in the file.
        names: candidates for the layer's name, the best first.
    """

    path: str
    names: Sequence[str]
    kernel: h5py.Dataset
    bias: h5py.Dataset


def read_keras(path: Path, convs: Iterable[str]) -> dict[str, list[Tensor]]:
    """Return the convolutions of a VGG, and fc6 and fc7 if the file has these, by Caffe's names.

    Layers are found by their names (block1_conv1, fc1). In a file without such names, the 3x3 convolutions are taken in
    the file's order, and so are the two fully connected layers.

    Args:
        convs: Caffe's names of the network's convolutions, in their order.

    Returns:
        [weight, bias] of every layer in Caffe's layout: (outputs, inputs, height, width) and (outputs,).

    Raises:
        UserError: if the file cannot be read or holds no such layers.
    """
    import h5py  # takes a tenth of a second

    try:
        with h5py.File(path, "r") as file:
            return {name: read_layer(layer, name) for name, layer in find_layers(file, list(convs)).items()}
    except UserError:
        raise
    except Exception as error:  # h5py raises whatever HDF5 finds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: cannot be read as an HDF5 file of Keras ({reason}); fetch it again") from error


def find_layers(file: h5py.File, convs: Sequence[str]) -> dict[str, KerasLayer]:
    """Return the layers of VGG in a file by Caffe's names."""
    layers = list_layers(file)
    by_name: dict[str, KerasLayer] = {}
    for layer in layers:
        name = next(filter(None, map(caffe_name, layer.names)), None)
        if name in by_name:
            raise UserError(f"has two layers {name}: {by_name[name].path} and {layer.path}; save one network alone")
        if name is not None:
            by_name[name] = layer
    if by_name:
        return by_name
    unnamed = [layer for layer in layers if layer.kernel.shape[:-2] == (3, 3)]
    if len(unnamed) != len(convs):
        raise UserError(
            f"holds {len(unnamed)} 3x3 convolutions and no names of VGG's layers, the network has {len(convs)}; "
            "choose the backbone that the file was made for"
        )
    by_name = dict(zip(convs, unnamed, strict=True))
    flat = 49 * by_name[convs[-1]].kernel.shape[-1]
    dense = [layer for layer in layers if layer.kernel.ndim == 2]
    if len(dense) > 1 and dense[0].kernel.shape[0] == flat and dense[1].kernel.shape == 2 * dense[0].bias.shape:
        by_name |= {"fc6": dense[0], "fc7": dense[1]}
    return by_name


def list_layers(file: h5py.File) -> list[KerasLayer]:
    """Return all groups with a kernel and a bias, in the order of the model's layers; not those of the optimiser."""
    import h5py

    groups: dict[str, list[h5py.Dataset]] = {}

    def collect(path: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and not path.startswith("optimizer"):
            groups.setdefault(path.rpartition("/")[0], []).append(item)

    file.visititems(collect)  # this follows no link to another file
    return list(to_layers(groups))


def to_layers(groups: dict[str, list[h5py.Dataset]]) -> Iterator[KerasLayer]:
    """Yield the groups that are layers, sorted as Keras counts: conv2d, conv2d_1, ..., conv2d_10."""
    for path in sorted(groups, key=lambda path: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", path)]):
        kernels = [item for item in groups[path] if item.ndim in (2, 4)]
        biases = [item for item in groups[path] if item.ndim == 1]
        if len(groups[path]) == 2 and kernels and biases:
            stored_name = kernels[0].parent.attrs.get("name", "")
            yield KerasLayer(path, [str(stored_name), *reversed(path.split("/"))], kernels[0], biases[0])


def caffe_name(name: str) -> str | None:
    """Return Caffe's name of a layer of VGG, such as conv1_2 for block1_conv2 and fc6 for fc1; None for others."""
    if found := re.fullmatch(r"(?:block|conv)(\d)_(?:conv)?(\d)", name):
        return f"conv{found[1]}_{found[2]}"
    return {"fc1": "fc6", "fc2": "fc7", "fc6": "fc6", "fc7": "fc7"}.get(name)


def read_layer(layer: KerasLayer, name: str) -> list[Tensor]:
    """Return [weight, bias] of a layer in Caffe's layout, in float32."""
    for item in (layer.kernel, layer.bias):
        if item.dtype.kind != "f" or item.size > MAX_ELEMENTS or item.is_virtual or item.external:
            raise UserError(f"{layer.path} holds no weights of VGG: {item.dtype} of shape {item.shape}")
    kernel, bias = (torch.from_numpy(np.asarray(item, np.float32)) for item in (layer.kernel, layer.bias))
    if kernel.ndim == 4:
        return [kernel.permute(3, 2, 0, 1), bias]
    inputs, outputs = kernel.shape
    if name != "fc6":
        return [kernel.T[:, :, None, None], bias]
    if inputs % 49:
        raise UserError(f"{layer.path} has {inputs} inputs, VGG's fc1 has 25088: 7 rows, 7 columns, 512 channels")
    return [kernel.reshape(7, 7, inputs // 49, outputs).permute(3, 2, 0, 1), bias]  # flat in this order, Caffe's CHW
