"""Weights from elsewhere: torchvision's ImageNet files, the authors' .caffemodel files, a run of one's own."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.errors import UserError
from src.models.backbone import copy_weight
from src.models.caffemodel import read_caffemodel
from src.models.deeplab import DeepLab
from src.models.head import FCHead
from src.models.msc import MSc
from src.models.timm_backbone import Timm
from src.models.vgg import VGG

SERVER = "https://download.pytorch.org/models"
FC_INPUT, FC_CHANNELS = (512, 7, 7), 4096  # of VGG's fc6 on pool5
TAPS = {7: (0, 1, 2, 3, 4, 5, 6), 4: (0, 2, 4, 6), 3: (0, 3, 6)}  # which of fc6's seven rows and columns stay


def load_pretrained(model: DeepLab) -> str:
    """Load what ``backbone.weights`` names into the backbone, and into fc6 and fc7 where the file has them.

    Returns:
        What was loaded, in words.

    Raises:
        UserError: if the file cannot be had or does not fit.
    """
    weights = model.backbone.weights
    if weights == "none":
        return "random weights"
    if isinstance(model.backbone, Timm):
        model.backbone.load_own()
        return f"backbone from timm's {model.backbone.name}"
    path = torchvision_file(model.backbone.imagenet_file()) if weights.startswith("imagenet") else Path(weights)
    if not path.is_file():
        raise UserError(f"backbone.weights={weights}: no such file; give a path, imagenet or none")
    loaded = load_caffe(model, path) if path.suffix == ".caffemodel" else load_torchvision(model, path)
    return f"{', '.join(loaded)} from {path}"


def torchvision_file(name: str) -> Path:
    """Where a file of torchvision lies, fetched on first use; the name's last part begins its SHA-256.

    The folder is torchvision's own, so that what is there already is used ($TORCH_HOME moves it).

    Raises:
        UserError: if it cannot be fetched; the message says where to put it by hand.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    url, checksum = f"{SERVER}/{name}", name.rsplit("-", 1)[1].removesuffix(".pth")
    try:
        # To a file beside it, which is renamed once its checksum is right: no other process sees half a file.
        torch.hub.download_url_to_file(url, str(path), hash_prefix=checksum)
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"backbone.weights=imagenet: {url} could not be fetched ({reason}). Fetch it elsewhere and put it at "
            f"{path}, or name a file with backbone.weights=PATH, or start from nothing with backbone.weights=none"
        ) from error
    return path


def load_torchvision(model: DeepLab, path: Path) -> list[str]:
    """A classifier of torchvision: its convolutions, and VGG's two hidden layers decimated to fc6 and fc7."""
    state = read_state(path)
    model.backbone.load_torchvision(state)
    head = fc_head(model)
    names = [f"classifier.{layer}.{kind}" for layer in (0, 3) for kind in ("weight", "bias")]
    if not isinstance(model.backbone, VGG) or head is None or any(name not in state for name in names):
        return ["backbone"]
    fc6_weight, fc6_bias, fc7_weight, fc7_bias = (state[name] for name in names)
    if not bool(torch.isfinite(fc6_bias).all()):
        return ["backbone"]  # torchvision's file of features only has nan there
    load_fc(head, fc6_weight, fc6_bias, fc7_weight, fc7_bias)
    return ["backbone", "fc6", "fc7"]


def read_state(path: Path) -> Mapping[str, Any]:
    """The tensors of a file of torch.save, without running any code that it might hold."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise UserError(f"{path}: cannot be read as weights ({str(error).splitlines()[0]})") from error
    if not isinstance(state, Mapping):
        raise UserError(f"{path}: holds {type(state).__name__}, not weights by name")
    return state


def fc_head(model: DeepLab) -> FCHead | None:
    """The head with fc6 and fc7, also inside MSc."""
    return next((module for module in model.head.modules() if isinstance(module, FCHead)), None)


def load_fc(head: FCHead, fc6_weight: Tensor, fc6_bias: Tensor, fc7_weight: Tensor, fc7_bias: Tensor) -> None:
    """VGG's fc6 and fc7 as the head's convolutions, decimated to its kernel and channels."""
    kernel, channels = head.fc6.kernel_size[0], head.fc6.out_channels
    if kernel not in TAPS or FC_CHANNELS % channels:
        raise UserError(
            f"backbone.weights: fc6 of {kernel}x{kernel} with {channels} channels cannot be had by decimation; "
            f"head.kernel may be 7, 4 or 3 and head.channels a divisor of {FC_CHANNELS}"
        )
    copy_weight(head.fc6.weight, decimate_fc6(fc6_weight, kernel, channels), "fc6")
    copy_weight(head.fc7.weight, decimate_fc7(fc7_weight, channels), "fc7")
    step = FC_CHANNELS // channels
    copy_weight(head.fc6.bias, fc6_bias.flatten()[::step], "fc6's bias")
    copy_weight(head.fc7.bias, fc7_bias.flatten()[::step], "fc7's bias")


def decimate_fc6(weight: Tensor, kernel: int, channels: int) -> Float[Tensor, "channels inputs kernel kernel"]:
    """Every so many of 4096 outputs, and of the 7x7 taps rows and columns {0, 2, 4, 6} or {0, 3, 6} (section 3.1)."""
    check_elements(weight, (FC_CHANNELS, *FC_INPUT), "fc6")
    taps = torch.tensor(TAPS[kernel])
    full = weight.reshape(FC_CHANNELS, *FC_INPUT)[:: FC_CHANNELS // channels]
    return full[:, :, taps][:, :, :, taps]


def decimate_fc7(weight: Tensor, channels: int) -> Float[Tensor, "channels channels 1 1"]:
    """Every so many outputs, and the inputs that fc6 still gives."""
    check_elements(weight, (FC_CHANNELS, FC_CHANNELS), "fc7")
    step = FC_CHANNELS // channels
    return weight.reshape(FC_CHANNELS, FC_CHANNELS)[::step, ::step, None, None]


def check_elements(weight: Tensor, shape: tuple[int, ...], name: str) -> None:
    if weight.numel() != int(np.prod(shape)):
        raise UserError(f"backbone.weights: {name} has shape {tuple(weight.shape)}, VGG's has {shape}")


def load_caffe(model: DeepLab, path: Path) -> list[str]:
    """A .caffemodel, by layer names: conv1_1 to conv5_3, fc6, fc7, fc8..., and the branches of MSc.

    fc6 and fc7 may be VGG's own, which are decimated, or the head's shape already. A classifier of other classes is
    left out.
    """
    if not isinstance(model.backbone, VGG) or any(isinstance(m, nn.BatchNorm2d) for m in model.backbone.modules()):
        raise UserError(f"{path}: a .caffemodel holds a VGG without BatchNorm; use backbone=vgg16")
    layers = {name: [torch.from_numpy(blob) for blob in blobs] for name, blobs in read_caffemodel(path).items()}
    convs = model.backbone.convs_by_name()
    if missing := convs.keys() - layers.keys():
        raise UserError(f"{path}: has no layer {', '.join(sorted(missing))}; it has {', '.join(layers)}")
    for name, conv in convs.items():
        copy_layer(conv, layers.pop(name), name)
    loaded = ["backbone"]
    if (head := fc_head(model)) is None:
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
    """The layers of MSc's branches; a branch is known by the channels of its map (3, 64, 128, 256, 512)."""
    one = head.branches[0]
    first = [name for name, (weight, *_) in layers.items() if weight.shape[2:] == (3, 3)]
    hidden = [name for name, (weight, *_) in layers.items() if weight.shape == one.conv2.weight.shape]
    scores = [name for name, (weight, *_) in layers.items() if weight.shape == one.score.weight.shape]
    if not len(first) == len(hidden) == len(scores) == len(head.branches):
        raise UserError(f"backbone.weights: {len(head.branches)} branches of MSc cannot be told in {', '.join(layers)}")
    by_channels = {branch.conv1.in_channels: branch for branch in head.branches}
    for names in zip(first, hidden, scores, strict=True):
        channels = layers[names[0]][0].shape[1]
        if channels not in by_channels:
            raise UserError(f"backbone.weights: {names[0]} reads {channels} channels; no branch of MSc does")
        branch = by_channels.pop(channels)
        for conv, name in zip((branch.conv1, branch.conv2, branch.score), names, strict=True):
            copy_layer(conv, layers[name], name)
    return ["branches"]


def copy_layer(conv: nn.Conv2d, blobs: Iterable[Tensor], name: str) -> None:
    """Weight and bias; Caffe pads the bias's shape with ones."""
    weight, bias = blobs
    copy_weight(conv.weight, weight, name)
    copy_weight(conv.bias, bias.flatten(), f"{name}'s bias")


def load_trained(model: DeepLab, path: str) -> str:
    """Start from the checkpoint of another run; where MSc is put on a trained network, its branches stay as they are.

    Raises:
        UserError: if the checkpoint is of another network, or of one that normalises its input otherwise.
    """
    if not Path(path).is_file():
        raise UserError(f"init_from={path}: no such file; give the checkpoint of a trained network")
    saved = read_state(Path(path)).get("state_dict", {})
    state = {name.removeprefix("model."): value for name, value in saved.items() if name.startswith("model.")}
    if isinstance(model.head, MSc) and not any(name.startswith("head.trunk.") for name in state):
        first_stage = {name: name.replace("head.", "head.trunk.", 1) for name in state if name.startswith("head.")}
        state = {first_stage.get(name, name): value for name, value in state.items()}
    own = model.state_dict()
    wrong = [
        *(f"{n} is missing" for n in own if n not in state and not n.startswith("head.scales.")),
        *(f"{n} is unknown" for n in state if n not in own),
        *(
            f"{n} is {tuple(v.shape)}, not {tuple(own[n].shape)}"
            for n, v in state.items()
            if n in own and v.shape != own[n].shape
        ),
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(f"init_from={path}: another network ({'; '.join(wrong[:3])}{more}); use its backbone and head")
    if any(not torch.equal(state[f"backbone.{name}"], own[f"backbone.{name}"]) for name in ("mean", "std")):
        raise UserError(
            f"init_from={path}: was trained on another normalisation; set backbone.weights (or mean, std, bgr) as there"
        )
    left = model.load_state_dict(state, strict=False).missing_keys
    return f"network from {path}" + (f", {len(left)} tensors of the branches at random" if left else "")
