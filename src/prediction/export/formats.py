"""The formats of exported networks: how each is written, and loaded again to check it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from src.models import ImageToLabels, ImageToScores
from src.prediction.trained_network import TrainedNetwork, load_network

Graph = Callable[[Tensor], Tensor]  # from images to their scores or labels

GRAPHS: dict[str, type[ImageToScores]] = {"scores": ImageToScores, "labels": ImageToLabels}


class Format(NamedTuple):
    """A file format for networks.

    ``write`` takes the network, what the graph returns (a key of ``GRAPHS``), an image to trace it with, and the path.
    ``load`` returns the graph. Its scores may differ from PyTorch's by ``tolerance``, relative to the largest score.
    """

    ending: str
    needs: tuple[str, ...]  # packages of the extra "export"
    write: Callable[[TrainedNetwork, str, Tensor, Path], None]
    load: Callable[[Path], Graph]
    tolerance: float = 1e-3  # float32 sums may be computed in another order
    returns: tuple[str, ...] = tuple(GRAPHS)


def build_graph(network: TrainedNetwork, returns: str = "scores") -> nn.Module:
    """Return the network as a module from images to scores, or labels, of their size."""
    return GRAPHS[returns](network.model).eval()


def notes_of(network: TrainedNetwork) -> dict[str, str]:
    """Return the texts to store with the weights: names and colours of the classes, as JSON."""
    return {"classes": json.dumps(network.classes), "palette": json.dumps(network.palette.tolist())}


def write_onnx(network: TrainedNetwork, returns: str, image: Tensor, path: Path) -> None:
    """Write a network as ONNX, with dynamic batch, height and width."""
    for name in ("onnxscript", "onnx_ir", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they log hundreds of lines
    sizes = ({0: "batch", 2: "height", 3: "width"},)
    names: dict[str, Any] = {"input_names": ["image"], "output_names": [returns]}
    program = torch.onnx.export(
        build_graph(network, returns), (image,), dynamo=True, verbose=False, dynamic_shapes=sizes, **names
    )
    assert program is not None
    program.model.metadata_props.update(notes_of(network))
    program.save(path)


def load_onnx(path: Path) -> Graph:
    """Load a network with ONNX Runtime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


def write_torchscript(network: TrainedNetwork, returns: str, image: Tensor, path: Path) -> None:
    """Write a network as TorchScript."""
    content = BytesIO()  # if the disk is full, torch's own writing to a path ends the process
    traced = torch.jit.trace(build_graph(network, returns), image, check_trace=False)
    torch.jit.save(traced, content, _extra_files=notes_of(network))
    path.write_bytes(content.getbuffer())


def load_torchscript(path: Path) -> Graph:
    """Load a network of TorchScript."""
    return torch.jit.load(path)


def write_pt2(network: TrainedNetwork, returns: str, image: Tensor, path: Path) -> None:
    """Write a network with ``torch.export``, with dynamic batch, height and width."""
    dynamic = torch.export.Dim.AUTO
    program = torch.export.export(
        build_graph(network, returns), (image,), dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},)
    )
    content = BytesIO()  # given a path, torch.export would demand the ending .pt2
    torch.export.save(program, content, extra_files=notes_of(network))
    path.write_bytes(content.getbuffer())


def load_pt2(path: Path) -> Graph:
    """Load a network of ``torch.export``."""
    with path.open("rb") as file:
        return torch.export.load(file).module()


def write_checkpoint(network: TrainedNetwork, returns: str, image: Tensor, path: Path) -> None:
    """Write a checkpoint for this project's commands: weights in 16 bits, without what only training needs.

    Vectors (biases, statistics), the normalisation of the image and the CRF stay in float32: they take little room.
    Folders of the data are left out, as they belong to the machine of the training.
    """
    large = {f"model.{name}" for name, parameter in network.model.named_parameters() if parameter.ndim > 2}
    state = {name: x.half() if name in large else x for name, x in network.state_dict().items()}
    content = BytesIO()
    torch.save({"state_dict": state, "hyper_parameters": shareable_hparams(network)}, content)
    path.write_bytes(content.getbuffer())


def shareable_hparams(network: TrainedNetwork) -> dict[str, Any]:
    """Return the network's hyper-parameters without the folders of its training."""
    dataset = network.hparams.get("dataset")
    own = {key: None for key in ("root", "cache") if dataset and key in dataset}
    parts = {**network.hparams, "dataset": dataset and {**dataset, **own}}
    return {name: without_folders(part) for name, part in parts.items()}


def without_folders(value: Any) -> Any:
    """Return nested lists and dicts with the names of files in place of absolute paths, such as backbone.weights."""
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def load_checkpoint(path: Path) -> Graph:
    """Load a network from a checkpoint."""
    return build_graph(load_network(path))


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx, load_onnx),
    "torchscript": Format(".pt", (), write_torchscript, load_torchscript),
    "pt2": Format(".pt2", (), write_pt2, load_pt2),
    "checkpoint": Format(".ckpt", (), write_checkpoint, load_checkpoint, tolerance=1e-2, returns=("scores",)),
}
