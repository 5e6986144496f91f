"""Choose the memory format in which this processor trains a network fastest, by measuring it once."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from src.system.files import read_json, write_text
from src.system.hardware import processor_name

log = logging.getLogger(__name__)

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
MARGIN = 1.05  # contiguous must be faster by this factor, so that noise does not decide
SIDE = 321  # largest side of the image of a trial; on smaller ones, the formats differ less


def choose_memory_format(
    model: nn.Module, loss: nn.Module, classes: int, side: int, precision: str, file: Path | None = None
) -> str:
    """Return the name of the memory format in which a training step takes less time on this processor.

    The measured ratio is stored in a file, so that a machine always chooses the same format for the same network: the
    order of sums depends on the format.

    Args:
        model: the network; it is not changed.
        loss: takes scores and labels.
        classes: number of classes.
        side: side of the images, in pixels.
        precision: the precision, by Lightning's name.
        file: file of the ratios of earlier trials; None for the default in the folder of torch.hub.
    """
    file = file or Path(torch.hub.get_dir(), "deeplab-v1", "memory_formats.json")
    side = min(side, SIDE)
    conditions = [processor_name(), torch.backends.cpu.get_cpu_capability(), torch.__version__, precision, side]
    key = hashlib.sha256(json.dumps([*conditions, str(model)]).encode()).hexdigest()[:16]
    ratio = None
    with suppress(OSError, Timeout):  # the folder is not writable, or another process hangs
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=60):  # of several jobs, only one measures
            known = read_ratios(file)
            ratio = known.get(key)
            if ratio is None:
                ratio = measure_ratio(model, loss, classes, side, precision)
                write_text(file, json.dumps({**known, key: ratio}, indent=1))
    if ratio is None:
        ratio = measure_ratio(model, loss, classes, side, precision)
    chosen, other = ("contiguous", "channels_last") if ratio > MARGIN else ("channels_last", "contiguous")
    times = ratio if ratio > MARGIN else 1 / ratio
    log.info("memory format: %s (%.2f times as fast as %s on this processor)", chosen, times, other)
    return chosen


def measure_ratio(model: nn.Module, loss: nn.Module, classes: int, side: int, precision: str) -> float:
    """Return the time of a training step in channels-last format, divided by the time in contiguous format.

    Times are processor times of one thread, which hardly depend on the load of the machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            image = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
            label = torch.randint(0, classes, (1, side, side), dtype=torch.uint8)
            seconds: dict[str, float] = {}
            for name, format in FORMATS.items():
                copied = copy.deepcopy(model).train()
                lay_out(copied, name)
                for _ in range(2):  # the first step is a warm-up
                    start = time.thread_time()
                    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                        loss(copied(image.contiguous(memory_format=format)), label).backward()
                    seconds[name] = time.thread_time() - start
    finally:
        torch.set_num_threads(threads)
    return seconds["channels_last"] / seconds["contiguous"]


def saved_memory_format(checkpoint: Mapping[str, Any]) -> str:
    """Return the memory format of the run that wrote a checkpoint; older versions always used channels_last."""
    return checkpoint.get("memory_format", "channels_last")


def lay_out(model: nn.Module, name: str) -> None:
    """Convert the weights of a network to the memory format of this name."""
    to: Any = model.to  # its type annotations lack memory_format
    to(memory_format=FORMATS[name])


def read_ratios(file: Path) -> dict[str, float]:
    """Return the ratios of earlier trials; none from a file that is missing or damaged."""
    return {key: ratio for key, ratio in read_json(file).items() if isinstance(ratio, float) and 0 < ratio < math.inf}
