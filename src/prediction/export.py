"""A trained network as one file for other programs: python -m src.export ckpt=CHECKPOINT format=onnx."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from src.errors import UserError
from src.models import ImageToScores
from src.prediction.formats import FORMATS, Scores
from src.system.files import replacing
from src.training.restore import load_segmenter

EXAMPLE = (2, 3, 97, 130)  # batch, channels, height, width that the graph is drawn from; others are allowed
CHECKED = (EXAMPLE, (1, 3, 65, 65), (3, 3, 40, 21), (1, 3, 8, 200), (1, 3, 250, 331))
TOLERANCE = 1e-3  # of the largest score: sums of float32 taken in another order


def export(config: DictConfig) -> Path:
    """Write the network, and keep the file only if its scores are PyTorch's at every size that is tried."""
    check_values(config)
    segmenter = load_segmenter(config.ckpt)

    network = ImageToScores(segmenter.model).eval()
    notes = {"classes": json.dumps(segmenter.classes), "palette": json.dumps(segmenter.palette.tolist())}
    form = FORMATS[config.format]
    path = Path(config.output or Path(config.paths.output_dir, f"network{form.ending}"))
    with replacing(path) as part:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # exporters think aloud
            form.write(network, images(EXAMPLE, config.input), part, notes)
            difference = compare(network, form.load(part), config.input)
        if not difference <= TOLERANCE:
            raise UserError(
                f"format={config.format}: the file's scores differ from PyTorch's by {difference:.1e} of the largest; "
                "it was not kept. Please report this with the checkpoint's config.yaml"
            )
    print(
        f"{path}  {path.stat().st_size / 1e6:.1f} MB\n"
        f"  image   {config.input} (batch, 3, height, width), RGB in 0..255, of any size\n"
        f"  scores  float32 (batch, {len(segmenter.classes)}, height, width); the largest is the pixel's class\n"
        f"  checked at {len(CHECKED)} sizes: scores within {difference:.1e} of PyTorch's, relative to the largest"
    )
    return path


def check_values(config: DictConfig) -> None:
    """Faults that would only show after the work is done."""
    if config.format not in FORMATS:
        raise UserError(f"format={config.format}: must be one of {', '.join(FORMATS)}")
    if config.input not in ("uint8", "float32"):
        raise UserError(f"input={config.input}: must be uint8 or float32 (RGB in 0..255 either way)")
    if config.output and Path(config.output).is_dir():
        raise UserError(f"output={config.output}: is a folder; name a file")
    if config.output and Path(config.output).exists() and not config.overwrite:
        raise UserError(f"output={config.output}: is there already; name another file, or set overwrite=true")
    if missing := [name for name in FORMATS[config.format].needs if find_spec(name) is None]:
        raise UserError(f'format={config.format} needs {", ".join(missing)}: pip install "deeplab-v1[export]"')


def images(shape: tuple[int, ...], dtype: str) -> Tensor:

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
