"""The hardware and weights available for training."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from src.models.backbones.vgg import IMAGENET, VGG16
from src.system.hardware import auto_precision, resolve_accelerator


@dataclass(frozen=True)
class Machine:
    """A machine to train on.

    Attributes:
        device: "cuda", "mps" or "cpu".
        memory: memory of the GPU, or else of the machine, in GiB.
        cores: number of processor cores.
        has_weights: whether torchvision's VGG-16 weights are on the disk.
        seconds: time in which one CPU core trains the slim network on a megapixel.
    """

    device: str
    memory: float
    cores: int
    has_weights: bool
    seconds: float


def this_machine(cores: int) -> Machine:
    """Return the properties of this machine."""
    device = resolve_accelerator("auto")
    if device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    file = Path(torch.hub.get_dir()) / "checkpoints" / IMAGENET[VGG16, False]
    return Machine(device, memory / 2**30, cores, file.is_file(), seconds_per_megapixel())


def seconds_per_megapixel() -> float:
    """Return the estimated time in which one CPU core trains the slim network on a megapixel (docs/performance.md)."""
    if auto_precision("cpu")[0] == "bf16-mixed":
        return 1.4
    return 2.4 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 4.0
