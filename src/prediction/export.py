"""Export a trained network to one file for other programs: python -m src.export ckpt=CHECKPOINT format=onnx."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from src.errors import UserError
from src.prediction.formats import FORMATS, Scores, image_to_scores
from src.system.files import replacing
from src.training.restore import load_segmenter

EXAMPLE = (2, 3, 97, 130)  # shape (batch, channels, height, width) to trace the graph with; it takes others as well
CHECKED = (EXAMPLE, (1, 3, 65, 65), (3, 3, 40, 21), (1, 3, 8, 200), (1, 3, 250, 331))


def export(config: DictConfig) -> Path:
    """Export the network, and keep the file only if its scores agree with PyTorch's at several sizes.

    Returns:
        The path of the file.

    Raises:
        UserError: if an option or the checkpoint cannot be used, or the scores differ.
    """
    check_options(config)
    segmenter = load_segmenter(config.ckpt)

    form = FORMATS[config.format]
    path = Path(config.output or Path(config.paths.output_dir, f"network{form.ending}"))
    with replacing(path) as part:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # exporters warn of much that concerns nobody
            form.write(segmenter, random_images(EXAMPLE, config.input), part)
            difference = compare(image_to_scores(segmenter), form.load(part), config.input)
        if not difference <= form.tolerance:
            raise UserError(
                f"format={config.format}: the file's scores differ from PyTorch's by {difference:.1e} of the largest; "
                "the file was not kept. Please report this, with the config.yaml of the checkpoint's run"
            )
    print(
        f"{path}  {path.stat().st_size / 1e6:.1f} MB\n"
        f"  image   {config.input} (batch, 3, height, width), RGB in 0..255, of any size\n"
        f"  scores  float32 (batch, {len(segmenter.classes)}, height, width); the largest is the pixel's class\n"
        f"  checked at {len(CHECKED)} sizes: scores within {difference:.1e} of PyTorch's, relative to the largest"
    )
    return path


def check_options(config: DictConfig) -> None:
    """Check all options before the work begins.

    Raises:
        UserError: naming the option and the remedy.
    """
    if config.format not in FORMATS:
        raise UserError(f"format={config.format}: must be one of {', '.join(FORMATS)}")
    if config.input not in ("uint8", "float32"):
        raise UserError(f"input={config.input}: must be uint8 or float32 (RGB in 0..255 either way)")
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


def compare(network: nn.Module, exported: Scores, dtype: str) -> float:
    """Return the largest difference of scores over all sizes, relative to the largest score; NaN if a score is NaN."""
    shares = []
    for shape in CHECKED:
        image = random_images(shape, dtype)
        expected, scores = network(image), exported(image)
        shares.append(float((scores - expected).abs().max() / expected.abs().max()))
    return max(shares, key=lambda share: float("inf") if share != share else share)
