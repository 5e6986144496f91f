"""One training step as this project takes it and as others do, in one run: python -m tests.benchmarks.training.

This project: loss on the label grid, the memory format and the precision that ``auto`` chooses. Others: float32,
contiguous, loss on up-sampled scores. Network, crop and batch are the same; medians over alternating steps.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console

from src.models import VGG, DeepLab, FCHead
from src.system.hardware import auto_precision
from src.training.losses import CrossEntropy, SegmentationLoss
from src.training.memory_format import FORMATS, choose_memory_format, lay_out

CROP, CLASSES, ROUNDS = 321, 21, 5


def step(
    width: float,
    batch: int,
    ours: bool,
    device: str = "cpu",
    precision: str | None = None,
    batch_norm: bool = True,
    crop: int = CROP,
    channels: int = 1024,
) -> Callable[[], None]:
    """Return a function that takes one step of SGD, and has the network as ``run.model``.

    Args:
        precision: Lightning's name; None for that of ``auto``, or for float32 if not ``ours``.
        channels: of fc6 and fc7.
    """
    torch.manual_seed(0)
    head = partial(FCHead, kernel=3, rate=12, channels=channels, width=width, average_pool=True, batch_norm=batch_norm)
    model = DeepLab(VGG(width=width, batch_norm=batch_norm), head, CLASSES).to(device)
    loss = SegmentationLoss(CrossEntropy(), "scores" if ours else "image")
    image = torch.randint(0, 256, (batch, crop, crop, 3), dtype=torch.uint8).permute(0, 3, 1, 2).to(device)
    label = torch.randint(0, CLASSES, (batch, crop, crop), dtype=torch.uint8).to(device)
    precision = precision or (auto_precision(device)[0] if ours else "32-true")
    name = "contiguous"
    if ours:
        name = choose_memory_format(model, loss, CLASSES, crop, precision) if device == "cpu" else "channels_last"
    lay_out(model, name)
    image = image.contiguous(memory_format=FORMATS[name])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def run() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16-mixed"):
            scores = model(image)
        optimizer.zero_grad()
        loss(scores, label).backward()
        optimizer.step()

    run.model = model  # type: ignore[attr-defined]
    return run


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes, with the work that it has given to the GPU."""
    start = time.perf_counter()
    run()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    console = Console()
    console.print(f"crop {CROP}, {CLASSES} classes, {torch.get_num_threads()} threads, {auto_precision('cpu')[0]}")
    for width, batch in ((0.25, 8), (1.0, 2)):
        ours, theirs = step(width, batch, ours=True), step(width, batch, ours=False)
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS + 1)][1:]  # the first round warms up
        a, b = (statistics.median(times) / batch for times in zip(*pairs, strict=True))
        ratio = statistics.median(y / x for x, y in pairs)
        console.print(f"width {width:<4}  ours {a:.3f} s an image, theirs {b:.3f} s: {ratio:.1f}x")


if __name__ == "__main__":
    main()
