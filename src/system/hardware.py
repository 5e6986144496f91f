"""Choose the device and the precision that a network computes in."""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import NamedTuple

import torch

from src.system.errors import UserError

log = logging.getLogger(__name__)


class Precision(NamedTuple):
    """The types that a network computes in.

    Attributes:
        weights: type of the weights.
        operations: type of the convolutions; others are computed in that of the weights if they need it.
    """

    weights: torch.dtype
    operations: torch.dtype

    def autocast(self, device: str) -> torch.autocast:
        """Return a context in which a network with such weights computes in this precision."""
        return torch.autocast(device, self.operations, enabled=self.operations != self.weights)


PRECISIONS = {  # Lightning's names
    "64-true": Precision(torch.float64, torch.float64),
    "32-true": Precision(torch.float32, torch.float32),
    "16-true": Precision(torch.float16, torch.float16),
    "bf16-true": Precision(torch.bfloat16, torch.bfloat16),
    "16-mixed": Precision(torch.float32, torch.float16),
    "bf16-mixed": Precision(torch.float32, torch.bfloat16),
}
SHORT_NAMES = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}


def resolve_accelerator(accelerator: str) -> str:
    """Return the device that Lightning uses for "auto" or "gpu": cuda, mps or cpu; other names unchanged."""
    if accelerator not in ("auto", "gpu"):
        return accelerator
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def find_device(accelerator: str, index: int = 0) -> torch.device:
    """Return the device that an accelerator stands for.

    Args:
        accelerator: auto, cpu, gpu, cuda or mps.
        index: which of several GPUs to use, modulo their number.

    Raises:
        UserError: if torch finds no such device.
    """
    kind = resolve_accelerator(accelerator)
    found = {"cpu": accelerator != "gpu", "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in found:
        raise UserError(f"accelerator={accelerator}: must be auto, cpu, gpu, cuda or mps")
    if not found[kind]:
        raise UserError(f"accelerator={accelerator}: torch finds no such device here; choose accelerator=cpu")
    return torch.device("cuda", index % torch.cuda.device_count()) if kind == "cuda" else torch.device(kind)


def find_precision(name: str | int | None, device: str) -> Precision:
    """Return the precision of this name.

    Args:
        name: one of Lightning's names; auto for the fastest one that is safe on this machine; None for 32-true.
        device: type of the device.

    Raises:
        UserError: if there is no such precision, or the device does not have it.
    """
    name = "32-true" if name is None else str(name)
    full = auto_precision(device)[0] if name == "auto" else SHORT_NAMES.get(name, name)
    if full not in PRECISIONS:
        raise UserError(f"precision={name}: must be one of auto, {', '.join([*PRECISIONS, *SHORT_NAMES])}")
    if full == "16-mixed" and device == "cpu":  # as Lightning does
        log.warning("precision=%s: processors are slow in float16; bf16-mixed is used", name)
        full = "bf16-mixed"
    if full == "64-true" and device == "mps":
        raise UserError(f"precision={name}: mps has no float64; choose precision=32-true")
    return PRECISIONS[full]


def auto_precision(accelerator: str) -> tuple[str, str]:
    """Return Lightning's name of the fastest precision that is safe for training on this machine, and the reason.

    bfloat16 has the range of float32 and needs no loss scaling. Processors without bfloat16 instructions emulate it,
    which is slower than float32.
    """
    device = resolve_accelerator(accelerator)
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "the GPU computes in bfloat16"
        return "16-mixed", "the GPU has float16 but no bfloat16"
    if device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return "bf16-mixed", "the processor has bfloat16 instructions"
    return "32-true", f"no fast bfloat16 on this {device}"


def processor_name() -> str:
    """Return the processor's model name, such as "AMD EPYC 9R14"; its architecture if the system does not report it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
