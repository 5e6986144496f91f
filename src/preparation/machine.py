"""What this machine has to train with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from src.models.backbones.vgg import IMAGENET, VGG16
from src.system.hardware import auto_precision, resolve_accelerator


@dataclass(frozen=True)
class Machine:
    """What training runs on.

    Attributes:
        device: "cuda", "mps" or "cpu".
        memory: of the device, or of the machine, in GiB.
        cores: of the processor.
        has_weights: whether torchvision's file of VGG-16 is on the disk.
        seconds: of one core to train the slim network on a megapixel; of a CPU.
    """

    device: str
    memory: float
    cores: int
    has_weights: bool
    seconds: float


def this_machine(cores: int) -> Machine:
    """Return what this machine has."""
    device = resolve_accelerator("auto")
    if device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    file = Path(torch.hub.get_dir()) / "checkpoints" / IMAGENET[VGG16, False]
    return Machine(device, memory / 2**30, cores, file.is_file(), seconds_per_megapixel())


def seconds_per_megapixel() -> float:
    """Return about how long one core of such a CPU trains the slim network on a megapixel (docs/performance.md)."""
    if auto_precision("cpu")[0] == "bf16-mixed":
        return 1.4
    return 2.4 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 4.0
