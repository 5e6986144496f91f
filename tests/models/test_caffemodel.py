"""The .caffemodel reader against files written by the protobuf library."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hydra.utils import instantiate

from src.models import DeepLab
from src.models.weights.caffemodel import read_caffemodel
from src.models.weights.pretrained import load_pretrained
from src.system.errors import UserError
from tests.commands import run_command
from tests.conftest import real_data
from tests.models.networks import composed

LEGACY = ("num", "channels", "height", "width")
FIELD = descriptor_pb2.FieldDescriptorProto


def caffe_messages(packed: bool) -> dict[str, Any]:
    """Return message classes for the part of caffe.proto that is read, and for fields that the reader must skip."""
    schema = {
        "BlobShape": [("dim", 1, FIELD.TYPE_INT64, True)],
        "BlobProto": [
            *((side, number, FIELD.TYPE_INT32, False) for number, side in enumerate(LEGACY, start=1)),
            ("data", 5, FIELD.TYPE_FLOAT, True),
            ("diff", 6, FIELD.TYPE_FLOAT, True),
            ("shape", 7, "BlobShape", False),
            ("double_data", 8, FIELD.TYPE_DOUBLE, True),
        ],
        "V1LayerParameter": [
            ("bottom", 2, FIELD.TYPE_STRING, True),
            ("top", 3, FIELD.TYPE_STRING, True),
            ("name", 4, FIELD.TYPE_STRING, False),
            ("type", 5, FIELD.TYPE_INT32, False),
            ("blobs", 6, "BlobProto", True),
            ("blobs_lr", 7, FIELD.TYPE_FLOAT, True),
        ],
        "LayerParameter": [
            ("name", 1, FIELD.TYPE_STRING, False),
            ("type", 2, FIELD.TYPE_STRING, False),
            ("blobs", 7, "BlobProto", True),
        ],
        "NetParameter": [
            ("name", 1, FIELD.TYPE_STRING, False),
            ("layers", 2, "V1LayerParameter", True),
            ("force_backward", 5, FIELD.TYPE_BOOL, False),
            ("layer", 100, "LayerParameter", True),
        ],
    }  # fmt: skip
    file = descriptor_pb2.FileDescriptorProto(name=f"caffe_{packed}.proto", package="caffe", syntax="proto2")
    for message_name, fields in schema.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, repeated in fields:
            field = message.field.add(name=name, number=number)
            field.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = FIELD.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = kind
                field.options.packed = packed and repeated and kind != FIELD.TYPE_STRING
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in schema}


def write(
    path: Path, layers: dict[str, list[np.ndarray]], old: bool = True, packed: bool = True, double: bool = False
) -> Path:
    """``old``: the format of the authors' files (2014, layers of V1, four legacy dimensions)."""
    messages = caffe_messages(packed)
    net = messages["NetParameter"](name="test", force_backward=True)
    for name, arrays in layers.items():
        layer = (net.layers if old else net.layer).add(name=name, type=4 if old else "Convolution")
        if old:
            layer.bottom.append("below")
            layer.blobs_lr.extend([1, 2])
        for array in arrays:
            blob = layer.blobs.add()
            (blob.double_data if double else blob.data).extend(array.ravel().tolist())
            if old:
                blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
            else:
                blob.shape.dim.extend(array.shape)
    path.write_bytes(net.SerializeToString())
    return path


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("double", [True, False])
def test_reads_what_protobuf_wrote(tmp_path: Path, old: bool, packed: bool, double: bool) -> None:
    rng = np.random.default_rng(0)
    conv = [rng.normal(size=(3, 2, 3, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)]
    path = write(tmp_path / "net.caffemodel", {"conv": conv, "relu": [], "ünï/codé": conv[:1]}, old, packed, double)
    found = read_caffemodel(path)
    assert list(found) == ["conv", "ünï/codé"]
    np.testing.assert_array_equal(found["conv"][0], conv[0])
    assert found["conv"][1].shape == ((1, 1, 1, 3) if old else (3,))
    np.testing.assert_array_equal(found["conv"][1].ravel(), conv[1])


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-5], lambda b: b"not a network", lambda b: b"", lambda b: b"\xff" * 20]
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: Any) -> None:
    path = write(tmp_path / "net.caffemodel", {"conv": [np.ones((1, 1, 1, 1), np.float32)]})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"net\.caffemodel: (is not a .caffemodel file|holds no weights)"):
        read_caffemodel(path)


# By Caffe's layer names; README.md of the files.
CIFAR10 = {"conv1": (32, 3, 5, 5), "conv2": (32, 32, 5, 5), "conv3": (64, 32, 5, 5), "ip1": (10, 1024)}
LENET = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "ip1": (500, 800), "ip2": (10, 500)}


@pytest.mark.parametrize(
    ("name", "shapes"), [("cifar10_full_v1", CIFAR10), ("cifar10_full", CIFAR10), ("lenet_v1", LENET)]
)
def test_reads_what_caffe_wrote(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    path = real_data("caffe") / f"{name}.caffemodel"
    found = read_caffemodel(path)
    assert {layer: tuple(weight.squeeze().shape) for layer, (weight, _) in found.items()} == {
        layer: tuple(side for side in shape if side > 1) for layer, shape in shapes.items()
    }
    net = caffe_messages(packed=True)["NetParameter"].FromString(path.read_bytes())
    for layer in net.layers or net.layer:
        for blob, array in zip(layer.blobs, found.get(layer.name, []), strict=True):
            np.testing.assert_array_equal(array.ravel(), np.array(blob.data, np.float32))
            assert 0 < array.std() < 1


def test_another_network_of_caffe_is_refused() -> None:
    path = real_data("caffe") / "cifar10_full.caffemodel"
    with pytest.raises(UserError, match=rf"^weights={path}: has no layer conv1_1, .* it has conv1, conv2, conv3, ip1$"):
        load_pretrained(slim(path))


def test_a_shape_without_end_is_named(tmp_path: Path) -> None:
    """A side of -1 is 2 ^ 64 - 1 in the file."""
    net = caffe_messages(packed=True)["NetParameter"]()
    blob = net.layer.add(name="conv").blobs.add()
    blob.data.extend([1.0])
    blob.shape.dim.extend([-1, 3])
    (tmp_path / "net.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(UserError, match=r"net\.caffemodel: is not a \.caffemodel file, or is incomplete"):
        read_caffemodel(tmp_path / "net.caffemodel")


def slim(path: Path, head: str = "largefov") -> DeepLab:
    return instantiate(
        composed("backbone=vgg16", f"head={head}", "backbone.width=0.0625", f"backbone.weights={path}").model,
        num_classes=4,
    )


def layers_of(model: DeepLab, rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Return random weights for every layer of a network, under the names of the released prototxt."""
    trunk = getattr(model.head, "trunk", model.head)
    convs = {**model.backbone.convs_by_name(), "fc6": trunk.fc6, "fc7": trunk.fc7, "fc8_voc12": trunk.fc8}
    for index, branch in enumerate(model.head.branches):
        convs |= {f"b{index}_1": branch.conv1, f"b{index}_2": branch.conv2, f"b{index}_score": branch.score}
    shapes = {name: (conv.weight.shape, conv.bias.shape) for name, conv in convs.items()}
    return {name: [rng.normal(size=s).astype(np.float32) for s in both] for name, both in shapes.items()}


@pytest.mark.parametrize("head", ["largefov", "vanilla", "msc_largefov"])
def test_a_released_network_is_mapped_by_name(tmp_path: Path, head: str) -> None:
    path = tmp_path / "train_iter_6000.caffemodel"
    model = slim(path, head)
    layers = layers_of(model, np.random.default_rng(1))
    write(path, layers)
    assert "backbone, fc6, fc7, fc8_voc12" in load_pretrained(model)
    trunk = getattr(model.head, "trunk", model.head)
    pairs = {"conv1_1": model.backbone.stages[0][0], "conv4_2": model.backbone.stages[3][2],
             "conv5_3": model.backbone.stages[4][4], "fc6": trunk.fc6, "fc8_voc12": trunk.fc8}  # fmt: skip
    for index, branch in enumerate(model.head.branches):
        pairs |= {f"b{index}_1": branch.conv1, f"b{index}_2": branch.conv2, f"b{index}_score": branch.score}
    for name, conv in pairs.items():
        np.testing.assert_array_equal(conv.weight.detach(), layers[name][0])
        np.testing.assert_array_equal(conv.bias.detach(), layers[name][1])
    assert model.backbone.bgr  # Caffe's files expect BGR without a standard deviation
    assert model.backbone.std.flatten().tolist() == [1, 1, 1]
    torch.testing.assert_close(model.backbone.mean.flatten(), torch.tensor([104.008, 116.669, 122.675]))


@pytest.mark.parametrize("blobs", [0, 1])
def test_a_missing_layer_is_named(tmp_path: Path, blobs: int) -> None:
    path = tmp_path / "net.caffemodel"
    model = slim(path)
    layers = layers_of(model, np.random.default_rng(1))
    layers["conv3_2"] = layers["conv3_2"][:blobs]
    write(path, layers)
    with pytest.raises(UserError, match="has no layer conv3_2 with weight and bias"):
        load_pretrained(model)


def test_msc_takes_a_network_without_branches(tmp_path: Path) -> None:
    """VGG itself, of which the paper's first stage starts; its classifier has 1000 classes."""
    path = tmp_path / "vgg.caffemodel"
    model = slim(path, "msc_largefov")
    layers = layers_of(slim(path), np.random.default_rng(1))
    layers["fc8"] = [np.zeros((1000, 256), np.float32), np.zeros(1000, np.float32)]
    write(path, layers)
    assert load_pretrained(model) == f"backbone, fc6, fc7, fc8_voc12 from {path}"


def test_a_larger_vgg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vgg19.caffemodel"
    layers = layers_of(slim(path), np.random.default_rng(1))
    layers["conv3_4"] = layers["conv3_3"]
    write(path, layers)
    with pytest.raises(UserError, match=f"^weights={path}: has layers that the network lacks, such as conv3_4"):
        load_pretrained(slim(path))


def test_a_released_network_is_evaluated_as_it_is(tmp_path: Path) -> None:
    """One command turns it into a checkpoint for evaluate, predict and export, and prints its metrics."""
    released, classes = tmp_path / "train2_iter_8000.caffemodel", 7
    model = instantiate(composed("backbone=vgg16", "head=largefov", "backbone.width=0.0625").model, num_classes=classes)
    layers = layers_of(model, np.random.default_rng(1))
    write(released, layers)
    command = ["train", "backbone=vgg16", "backbone.width=0.0625", f"backbone.weights={released}", "crf=none",
               "dataset=shapes", "dataset.size=65", "dataset.samples={train: 2, val: 2}", "trainer.max_steps=0",
               "trainer.accelerator=cpu", "logger=none", f"paths.log_dir={tmp_path}"]  # fmt: skip
    done = run_command(*command)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("last.ckpt")
    state = torch.load(path, weights_only=True)["state_dict"]
    np.testing.assert_array_equal(state["model.head.fc8.weight"], layers["fc8_voc12"][0])
    np.testing.assert_array_equal(state["model.backbone.stages.4.4.bias"], layers["conv5_3"][1])
    assert len(list(tmp_path.rglob("metrics.json"))) == 1
