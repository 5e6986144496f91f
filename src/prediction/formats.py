"""The formats of exported networks: how each is written, and loaded again to check it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Scores = Callable[[Tensor], Tensor]


class Format(NamedTuple):
    """A file format for networks.

    ``write`` takes the network, an image to trace it with, the path, and texts to store with the weights. ``load``
    returns a function from images to scores.
    """

    ending: str
    needs: tuple[str, ...]  # packages of the extra "export"
    write: Callable[[nn.Module, Tensor, Path, Mapping[str, str]], None]
    load: Callable[[Path], Scores]


def write_onnx(network: nn.Module, image: Tensor, path: Path, notes: Mapping[str, str]) -> None:
    """Write a network as ONNX, with dynamic batch, height and width."""
    for name in ("onnxscript", "onnx_ir", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they log hundreds of lines
    sizes = ({0: "batch", 2: "height", 3: "width"},)
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["scores"]}
    program = torch.onnx.export(network, (image,), dynamo=True, verbose=False, dynamic_shapes=sizes, **names)
    assert program is not None
    program.model.metadata_props.update(notes)
    program.save(path)


def load_onnx(path: Path) -> Scores:
    """Load a network with ONNX Runtime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(["scores"], {"image": image.numpy()})[0])


def write_torchscript(network: nn.Module, image: Tensor, path: Path, notes: Mapping[str, str]) -> None:
    """Write a network as TorchScript."""
    content = BytesIO()  # if the disk is full, torch's own writing to a path ends the process
    torch.jit.save(torch.jit.trace(network, image, check_trace=False), content, _extra_files=dict(notes))
    path.write_bytes(content.getbuffer())


def load_torchscript(path: Path) -> Scores:
    """Load a network of TorchScript."""
    return torch.jit.load(path)


def write_pt2(network: nn.Module, image: Tensor, path: Path, notes: Mapping[str, str]) -> None:
    """Write a network with ``torch.export``, with dynamic batch, height and width."""
    dynamic = torch.export.Dim.AUTO
    program = torch.export.export(network, (image,), dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},))
    content = BytesIO()  # given a path, torch.export would demand the ending .pt2
    torch.export.save(program, content, extra_files=dict(notes))
    path.write_bytes(content.getbuffer())


def load_pt2(path: Path) -> Scores:
    """Load a network of ``torch.export``."""
    with path.open("rb") as file:
        return torch.export.load(file).module()


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx, load_onnx),
    "torchscript": Format(".pt", (), write_torchscript, load_torchscript),
    "pt2": Format(".pt2", (), write_pt2, load_pt2),
}
