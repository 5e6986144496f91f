"""What this machine computes well."""

import torch


def resolve_accelerator(accelerator: str) -> str:
    """The device that Lightning's "auto" stands for: cuda, mps or cpu."""
    if accelerator not in ("auto", "gpu"):
        return accelerator
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def auto_precision(accelerator: str) -> tuple[str, str]:
    """Lightning's ``precision`` that trains fastest without harm, and why it was picked.

    bfloat16 keeps float32's range, so that it needs no loss scaling; on processors without instructions for it, it is
    emulated and slower than float32.
    """
    device = resolve_accelerator(accelerator)
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "the GPU computes in bfloat16"
        return "16-mixed", "the GPU has float16 but no bfloat16"
    if device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return "bf16-mixed", "the processor has bfloat16 instructions"
    return "32-true", f"no fast bfloat16 on this {device}"
