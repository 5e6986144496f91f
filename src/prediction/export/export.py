"""Export a trained network to one file for other programs: python -m src.export ckpt=CKPT format=onnx."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from src.labels import MAX_CLASSES
from src.prediction.export.formats import FORMATS, GRAPHS, Graph, build_graph
from src.prediction.export.hub import export_folder
from src.prediction.trained_network import load_network
from src.system.errors import UserError
from src.system.files import replacing

EXAMPLE = (2, 3, 97, 130)  # shape (batch, channels, height, width) to trace the graph with; it takes others as well
CHECKED = (EXAMPLE, (1, 3, 65, 65), (3, 3, 40, 21), (1, 3, 8, 200), (1, 3, 250, 331))


def export(config: DictConfig) -> Path:
    """Export the network, and keep the file only if it agrees with PyTorch at several sizes.

    Returns:
        The path of the file, or of the folder of format=hub.

    Raises:
        UserError: if an option or the checkpoint cannot be used, or scores or labels differ.
    """
    if config.format == "hub":
        return export_folder(config)
    check_options(config)
    network = load_network(config.ckpt)
    if config.returns == "labels" and len(network.classes) > MAX_CLASSES:
        raise UserError(
            f"returns=labels: labels are uint8, for {MAX_CLASSES} classes at most; the checkpoint has "
            f"{len(network.classes)}. Use returns=scores"
        )

    form = FORMATS[config.format]
    path = Path(config.output or Path(config.paths.output_dir, f"network{form.ending}"))
    with replacing(path) as part:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # most of the exporters' warnings do not concern the user
            form.write(network, config.returns, random_images(EXAMPLE, config.input), part)
            compare = compare_labels if config.returns == "labels" else compare_scores
            difference = compare(build_graph(network), form.load(part), config.input)
        if not difference <= form.tolerance:
            raise UserError(
                f"format={config.format}: the file's {config.returns} differ from PyTorch's, by {difference:.1e} of "
                "the largest score; the file was not kept. Please report this, with the config.yaml of the "
                "checkpoint's run"
            )
    print(
        f"{path}  {path.stat().st_size / 1e6:.1f} MB\n"
        f"  image   {config.input} (batch, 3, height, width), RGB in 0..255, of any size\n"
        f"  {describe_output(config.returns, len(network.classes), difference)}"
    )
    return path


def describe_output(returns: str, classes: int, difference: float) -> str:
    """Return two lines: what the exported graph returns, and how far that is from PyTorch's."""
    checked = f"checked at {len(CHECKED)} sizes:"
    if returns == "scores":
        return (
            f"scores  float32 (batch, {classes}, height, width); the largest is the pixel's class\n"
            f"  {checked} scores within {difference:.1e} of PyTorch's, relative to the largest"
        )
    same = (
        "all are PyTorch's"
        if difference == 0
        else f"PyTorch's, up to ties within {difference:.1e} of the largest score"
    )
    return f"labels  uint8 (batch, height, width); the pixel's class, from 0 to {classes - 1}\n  {checked} {same}"


def check_options(config: DictConfig) -> None:
    """Check all options before the work begins.

    Raises:
        UserError: naming the option and the remedy.
    """
    if config.format not in FORMATS:
        raise UserError(f"format={config.format}: must be one of {', '.join([*FORMATS, 'hub'])}")
    for key in ("push", "license"):
        if config[key] is not None:
            raise UserError(f"{key}={config[key]}: needs format=hub")
    if config.input not in ("uint8", "float32"):
        raise UserError(f"input={config.input}: must be uint8 or float32 (RGB in 0..255 either way)")
    if config.returns not in GRAPHS:
        raise UserError(f"returns={config.returns}: must be {' or '.join(GRAPHS)}")
    if config.returns not in FORMATS[config.format].returns:
        others = " or ".join(name for name, form in FORMATS.items() if config.returns in form.returns)
        raise UserError(
            f"returns={config.returns}: format={config.format} holds weights, not a graph; choose format={others}"
        )
    if config.output and Path(config.output).is_dir():
        raise UserError(f"output={config.output}: is a folder; name a file")
    if config.output and Path(config.output).exists() and not config.overwrite:
        raise UserError(f"output={config.output}: already exists; name another file, or set overwrite=true")
    try:
        Path(config.output or config.paths.output_dir).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output={config.output}: {error.strerror}; name a file in another folder") from error
    if missing := [name for name in FORMATS[config.format].needs if find_spec(name) is None]:
        raise UserError(f'format={config.format} needs {", ".join(missing)}: pip install "deeplab-v1[export]"')


def random_images(shape: tuple[int, ...], dtype: str) -> Tensor:
    """Return images of random pixels in 0..255; the same for every call."""
    noise = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=noise).to(getattr(torch, dtype))


def compare_scores(network: nn.Module, exported: Graph, dtype: str) -> float:
    """Return the largest difference of scores over all sizes, relative to the largest score; NaN if a score is NaN.

    It is infinite if the scores have another type or size.
    """
    shares = []
    for shape in CHECKED:
        image = random_images(shape, dtype)
        expected, scores = network(image), exported(image)
        if scores.dtype != expected.dtype or scores.shape != expected.shape:
            return float("inf")
        shares.append(float((scores - expected).abs().max() / expected.abs().max()))
    return max(shares, key=lambda share: float("inf") if share != share else share)


def compare_labels(network: nn.Module, exported: Graph, dtype: str) -> float:
    """Return by how much, over all sizes, a label's score lies below the largest score of its pixel.

    It is relative to the largest score of all, and 0 if all labels are PyTorch's: where two classes are almost equal,
    rounding decides. It is infinite if the labels have another type or size.

    Args:
        network: from images to scores.
        exported: from images to labels.
    """
    shares = []
    for shape in CHECKED:
        image = random_images(shape, dtype)
        scores, labels = network(image), exported(image)
        if labels.dtype != torch.uint8 or labels.shape != (shape[0], *shape[2:]) or labels.max() >= scores.shape[1]:
            return float("inf")
        chosen = scores.gather(1, labels.long()[:, None])[:, 0]
        shares.append(float((scores.amax(1) - chosen).max() / scores.abs().max()))
    return max(shares)
