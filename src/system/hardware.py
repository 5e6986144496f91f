"""Choose the fastest device and precision of this machine."""

import platform
from pathlib import Path

import torch


def resolve_accelerator(accelerator: str) -> str:
    """Return the device that Lightning uses for "auto" or "gpu": cuda, mps or cpu; other names unchanged."""
    if accelerator not in ("auto", "gpu"):
        return accelerator
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


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
