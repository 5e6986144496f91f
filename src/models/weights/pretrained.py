"""Load pretrained weights: files of torchvision, Caffe and Keras, or the checkpoint of another run."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from src.models.backbones.backbone import Backbone, WeightsError
from src.models.backbones.timm_backbone import Timm
from src.models.backbones.vgg import VGG
from src.models.deeplab import DeepLab
from src.models.heads.msc import MSc
from src.models.weights.caffemodel import read_caffemodel
from src.models.weights.decimation import find_fc_head, load_fc
from src.models.weights.keras_file import read_keras
from src.models.weights.torch_file import read_state
from src.models.weights.vgg_layers import find_vgg_convs, load_vgg_layers
from src.system.counted import counted
from src.system.download import fetch
from src.system.errors import UserError

Image = UInt8[Tensor, "3 _ _"]  # RGB

ADDED = ("head.scales.", "crf.")  # what a second stage of training adds to a trained network
FETCHED = ("caffe", "imagenet", "imagenet_features")  # names of weights, see Backbone.weight_file


def load_initial_weights(model: DeepLab, images: Iterable[Image], checkpoint: str | None = None) -> str:
    """Load the initial weights of a training: those of another run, or those that the backbone names.

    Args:
        images: some training images, to calibrate a head with random weights; read only if needed.
        checkpoint: checkpoint of the other run; None for the backbone's ``weights``.

    Returns:
        A description of the weights.

    Raises:
        UserError: if a file cannot be fetched or read, or does not fit the network.
    """
    return load_trained(model, checkpoint) if checkpoint else load_pretrained(model, images)


def load_pretrained(model: DeepLab, images: Iterable[Image] = ()) -> str:
    """Load the weights that the backbone's ``weights`` names, including fc6 and fc7 if the file has them.

    If fc6 and fc7 stay random, and the network has no BatchNorm, they are calibrated.

    Args:
        images: images to calibrate with; without any, random weights are not scaled.

    Returns:
        A description of the weights.

    Raises:
        UserError: if the file cannot be fetched or read, or does not fit the network.
    """
    weights = model.backbone.weights
    loaded: list[str] = []
    if weights == "none":
        description = "random weights"
    elif isinstance(model.backbone, Timm):
        model.backbone.load_timm_weights()
        description = f"backbone from timm's {model.backbone.name}"
    else:
        path = fetch_weights(model.backbone) if weights in FETCHED else Path(weights)
        if not path.is_file():
            raise WeightsError(f"weights={weights}: no such file; give a path, {', '.join(FETCHED)} or none")
        source = f"weights={weights}" + (f" ({path})" if weights in FETCHED else "")
        try:
            loaded = load_file(model, path)
        except UserError as error:
            raise WeightsError(f"{source}: {str(error).removeprefix(f'{path}: ')}") from error
        description = f"{', '.join(loaded)} from {path}"
    if "fc6" not in loaded and calibrate_head(model, images):
        description += "; random fc6 and fc7, scaled to the backbone's features"
    return description


def calibrate_head(model: DeepLab, images: Iterable[Image]) -> bool:
    """Scale random fc6 and fc7 to the backbone's features, and return whether anything was scaled.

    A network with BatchNorm is not scaled, because BatchNorm does this in each step.
    """
    head = find_fc_head(model)
    if head is None or any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        return False
    with torch.no_grad():
        maps = [model.backbone(image[None])[-1] for image in images]
    if maps:
        head.calibrate(maps)
    return bool(maps)


def fetch_weights(backbone: Backbone) -> Path:
    """Return the path of the file that the backbone's ``weights`` names, and fetch the file if it is not there yet.

    The folder is the one that torchvision uses, so that no file is fetched twice; $TORCH_HOME moves it.

    Raises:
        UserError: if the file cannot be fetched; the message says where to put it by hand.
    """
    urls, checksum = backbone.weight_file()
    folder = Path(torch.hub.get_dir(), "checkpoints")
    try:
        return fetch(urls[0].rpartition("/")[2], urls, checksum, urls[0], folder, key="TORCH_HOME")
    except UserError as error:
        raise WeightsError(f"weights={backbone.weights}: {error}; or name a file with weights=PATH") from error


def load_file(model: DeepLab, path: Path) -> list[str]:
    """Load the weights of a file of torchvision, Caffe (.caffemodel) or Keras (.h5).

    Returns:
        The names of what was loaded.

    Raises:
        UserError: if the file cannot be read or does not fit the network.
    """
    suffix = path.suffix.lower()
    if suffix == ".caffemodel":
        blobs = read_caffemodel(path).items()
        return load_vgg_layers(model, {name: [torch.from_numpy(blob) for blob in layer] for name, layer in blobs})
    if suffix in (".h5", ".hdf5"):
        return load_vgg_layers(model, read_keras(path, find_vgg_convs(model)))
    if suffix == ".keras":
        raise UserError("an archive of Keras: unzip it, and name its model.weights.h5")
    return load_torchvision(model, path)


def load_torchvision(model: DeepLab, path: Path) -> list[str]:
    """Load a classifier of torchvision: its convolutions, and for VGG also fc6 and fc7, decimated to the head.

    Returns:
        The names of what was loaded.

    Raises:
        UserError: if the file cannot be read or does not fit.
    """
    state = read_state(path)
    model.backbone.load_torchvision(state)
    head = find_fc_head(model)
    names = [f"classifier.{layer}.{kind}" for layer in (0, 3) for kind in ("weight", "bias")]
    if not isinstance(model.backbone, VGG) or head is None or any(name not in state for name in names):
        return ["backbone"]
    fc6_weight, fc6_bias, fc7_weight, fc7_bias = (state[name] for name in names)
    if not bool(torch.isfinite(fc6_bias).all()):
        return ["backbone"]  # torchvision's features-only file has NaN in these layers
    load_fc(head, fc6_weight, fc6_bias, fc7_weight, fc7_bias)
    return ["backbone", "fc6", "fc7"]


def load_trained(model: DeepLab, path: str) -> str:
    """Load the network of another run's checkpoint, to start a training from it.

    If MSc or a CRF is added to a network that was trained without it, its parameters keep their initial values.

    Returns:
        A description of what was loaded.

    Raises:
        UserError: if the checkpoint holds another network, or one with another normalisation.
    """
    remedy = "give the best.ckpt or last.ckpt of a run"
    if not Path(path).is_file():
        raise UserError(f"init_from={path}: no such file; {remedy}")
    try:
        saved = read_state(Path(path)).get("state_dict")
    except UserError as error:
        raise UserError(f"init_from={error}; {remedy}") from error
    tensors = {str(n): v for n, v in saved.items() if isinstance(v, Tensor)} if isinstance(saved, Mapping) else {}
    state = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    if isinstance(model.head, MSc) and not any(name.startswith("head.trunk.") for name in state):
        first_stage = {name: name.replace("head.", "head.trunk.", 1) for name in state if name.startswith("head.")}
        state = {first_stage.get(name, name): value for name, value in state.items()}
    current = model.state_dict()
    wrong = [
        *(f"{n} is missing" for n in current if n not in state and not n.startswith(ADDED)),
        *(f"{n} is unknown" for n in state if n not in current),
    ]
    if not wrong and (classes := find_class_count(model, state)):
        found = counted(classes, "class", "classes")
        raise UserError(
            f"init_from={path}: has {found}, the data set has {model.num_classes}; train on data with as many classes, "
            "or leave init_from out"
        )
    wrong += [
        f"{n} is {tuple(v.shape)}, not {tuple(current[n].shape)}"
        for n, v in state.items()
        if n in current and v.shape != current[n].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"init_from={path}: holds another network ({'; '.join(wrong[:3])}{more}); "
            "use its backbone, head and number of classes"
        )
    rounding = 1e-3  # export once wrote mean and std in 16 bits
    if any(
        not torch.allclose(state[f"backbone.{name}"].float(), current[f"backbone.{name}"], rounding)
        for name in ("mean", "std")
    ):
        raise UserError(
            f"init_from={path}: was trained with another normalisation; set the same backbone.weights (or mean, std "
            "and bgr)"
        )
    missing = model.load_state_dict(state, strict=False).missing_keys
    branches = [name for name in missing if not name.startswith("crf.")]
    return f"network from {path}" + (f", {len(branches)} tensors of the branches at random" if branches else "")


def find_class_count(model: DeepLab, state: Mapping[str, Tensor]) -> int:
    """Return the number of classes of saved weights that fit a network except for this number; 0 for other weights."""
    shapes = [(tuple(state[n].shape), tuple(v.shape)) for n, v in model.state_dict().items() if n in state]
    if any(len(saved) != len(wanted) for saved, wanted in shapes):
        return 0
    sizes = {pair for both in shapes for pair in zip(*both, strict=True) if pair[0] != pair[1]}
    return next(iter(sizes))[0] if [wanted for _, wanted in sizes] == [model.num_classes] else 0
