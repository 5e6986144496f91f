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


def step(width: float, batch: int, ours: bool) -> Callable[[], None]:
    """Return a function that takes one step of SGD."""
    torch.manual_seed(0)
    head = partial(FCHead, kernel=3, rate=12, channels=1024, width=width, average_pool=True, batch_norm=True)
    model = DeepLab(VGG(width=width, batch_norm=True), head, CLASSES)
    loss = SegmentationLoss(CrossEntropy(), "scores" if ours else "image")
    image = torch.randint(0, 256, (batch, CROP, CROP, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    label = torch.randint(0, CLASSES, (batch, CROP, CROP))
    precision = auto_precision("cpu")[0] if ours else "32-true"
    name = choose_memory_format(model, loss, CLASSES, CROP, precision) if ours else "contiguous"
    lay_out(model, name)
    image = image.contiguous(memory_format=FORMATS[name])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            scores = model(image)
        optimizer.zero_grad()
        loss(scores, label).backward()
        optimizer.step()

    return run


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
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
