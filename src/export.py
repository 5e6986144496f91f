"""A trained network as one file for other programs: python -m src.export ckpt=CHECKPOINT format=onnx."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from src.checkpoint import load_segmenter
from src.command import command
from src.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    Scores = Callable[[Tensor], Tensor]

ENDINGS = {"onnx": ".onnx", "torchscript": ".pt", "pt2": ".pt2"}
EXAMPLE = (2, 3, 97, 130)  # batch, channels, height, width that the graph is drawn from; others are allowed
CHECKED = (EXAMPLE, (1, 3, 65, 65), (3, 3, 40, 21), (1, 3, 8, 200), (1, 3, 250, 331))
TOLERANCE = 1e-3  # of the largest score: sums of float32 taken in another order


@command("export")
def main(config: DictConfig) -> None:
    export(config)


def export(config: DictConfig) -> Path:
    """Write the network, and keep the file only if its scores are PyTorch's at every size that is tried."""
    check_values(config)
    segmenter = load_segmenter(config.ckpt)

    # Heavy imports stand here so that --help and a mistyped override answer at once.
    import torch

    from src.models import ImageToScores

    network = ImageToScores(segmenter.model).eval()
    notes = {"classes": json.dumps(segmenter.classes), "palette": json.dumps(segmenter.palette.tolist())}
    path = Path(config.output or Path(config.paths.output_dir, f"network{ENDINGS[config.format]}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    write, load = {"onnx": (write_onnx, load_onnx), "pt2": (write_pt2, load_pt2)}.get(
        config.format, (write_torchscript, load_torchscript)
    )
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # exporters think aloud
            write(network, images(EXAMPLE, config.input), part, notes)
            difference = compare(network, load(part), config.input)
        if not difference <= TOLERANCE:
            raise UserError(
                f"format={config.format}: the file's scores differ from PyTorch's by {difference:.1e} of the largest; "
                "it was not kept. Please report this with the checkpoint's config.yaml"
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    print(
        f"{path}  {path.stat().st_size / 1e6:.1f} MB\n"
        f"  image   {config.input} (batch, 3, height, width), RGB in 0..255, of any size\n"
        f"  scores  float32 (batch, {len(segmenter.classes)}, height, width); the largest is the pixel's class\n"
        f"  checked at {len(CHECKED)} sizes: scores within {difference:.1e} of PyTorch's, relative to the largest"
    )
    return path


def check_values(config: DictConfig) -> None:
    """Faults that would only show after the work is done."""
    if config.format not in ENDINGS:
        raise UserError(f"format={config.format}: must be one of {', '.join(ENDINGS)}")
    if config.input not in ("uint8", "float32"):
        raise UserError(f"input={config.input}: must be uint8 or float32 (RGB in 0..255 either way)")
    if config.output and Path(config.output).is_dir():
        raise UserError(f"output={config.output}: is a folder; name a file")
    if config.output and Path(config.output).exists() and not config.overwrite:
        raise UserError(f"output={config.output}: is there already; name another file, or set overwrite=true")
    needed = ("onnx", "onnxscript", "onnxruntime") if config.format == "onnx" else ()
    if missing := [name for name in needed if find_spec(name) is None]:
        raise UserError(f'format=onnx needs {", ".join(missing)}: pip install "deeplab-v1[export]"')


def images(shape: tuple[int, ...], dtype: str) -> Tensor:
    import torch

    noise = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=noise).to(getattr(torch, dtype))


def compare(network: nn.Module, exported: Scores, dtype: str) -> float:
    """Largest difference of scores over several sizes, as a share of the largest score; nan counts as different."""
    shares = []
    for shape in CHECKED:
        image = images(shape, dtype)
        expected, scores = network(image), exported(image)
        shares.append(float((scores - expected).abs().max() / expected.abs().max()))
    return max(shares, key=lambda share: float("inf") if share != share else share)


def write_onnx(network: nn.Module, image: Tensor, path: Path, notes: Mapping[str, str]) -> None:
    import torch

    for name in ("onnxscript", "onnx_ir", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they think aloud, in hundreds of lines
    sizes = ({0: "batch", 2: "height", 3: "width"},)
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["scores"]}
    program = torch.onnx.export(network, (image,), dynamo=True, verbose=False, dynamic_shapes=sizes, **names)
    assert program is not None
    program.model.metadata_props.update(notes)
    program.save(path)


def load_onnx(path: Path) -> Scores:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(["scores"], {"image": image.numpy()})[0])


def write_torchscript(network: nn.Module, image: Tensor, path: Path, notes: Mapping[str, str]) -> None:
    import torch

    torch.jit.save(torch.jit.trace(network, image, check_trace=False), path, _extra_files=dict(notes))


def load_torchscript(path: Path) -> Scores:
    import torch

    return torch.jit.load(path)


def write_pt2(network: nn.Module, image: Tensor, path: Path, notes: Mapping[str, str]) -> None:
    import torch

    free = torch.export.Dim.AUTO
    program = torch.export.export(network, (image,), dynamic_shapes=({0: free, 2: free, 3: free},))
    with path.open("wb") as file:  # by name it would insist on the ending .pt2
        torch.export.save(program, file, extra_files=dict(notes))


def load_pt2(path: Path) -> Scores:
    import torch

    with path.open("rb") as file:
        return torch.export.load(file).module()


if __name__ == "__main__":
    main()
