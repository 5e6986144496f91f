"""Speed of training: single steps against the plain loop of other projects, and whole runs with the loader."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning import Callback
from omegaconf import OmegaConf
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from src.data import train_transform
from src.system.hardware import auto_precision
from src.training.callbacks.finite_loss import FiniteLoss
from src.training.datamodule import SegmentationDataModule
from src.training.segmenter import Segmenter
from src.training.trainer import build_trainer
from tests.benchmarks.__main__ import peak_flops
from tests.benchmarks.loader import rate
from tests.benchmarks.training import seconds, step
from tests.gpu.figures import NEEDS_GPU, Figure, Setting
from tests.models.networks import composed

MODES: dict[str, dict[str, Any]] = {  # arguments of torch.compile
    "eager": {},
    "compiled": {"mode": "default"},
    "compiled, CUDA graphs": {"mode": "reduce-overhead"},
}


def measure_steps(setting: Setting) -> Iterator[Figure]:
    """Yield images a second of a training step: VGG-16-LargeFOV, crop 321, batch 30, without a loader."""
    width, batch, crop, channels = setting.pick((1.0, 30, 321, 1024), (1 / 16, 2, 65, 64))
    precision = auto_precision(setting.device)[0]
    rounds, repetitions = setting.pick((5, 3), (1, 1))
    network: dict[str, Any] = {"batch_norm": False, "device": setting.device, "crop": crop, "channels": channels}
    peak = peak_flops(precision, setting.device, setting.pick(8192, 256))
    yield Figure("steps", f"matrix product, {precision}", peak / 1e12, "TFLOP/s")

    def images_per_second(run: Callable[[], None]) -> float:
        def several() -> None:
            for _ in range(repetitions):
                run()

        times = [seconds(several) for _ in range(rounds + 1)][1:]
        return batch * repetitions / statistics.median(times)

    peers = {"float32": "32-true", "autocast": "bf16-mixed"}
    fastest = 0.0
    for name, kind in peers.items():
        peer = images_per_second(step(width, batch, ours=False, precision=kind, **network))
        fastest = max(fastest, peer)
        yield Figure("steps", f"plain loop, {name}, contiguous, loss on the image", peer, "images/s")
    flops = 0
    for name, options in MODES.items():
        if "CUDA" in name and not setting.on_gpu:
            yield Figure("steps", f"ours, {name}", NEEDS_GPU)
            continue
        if setting.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        run: Any = step(width, batch, ours=True, **network)
        if not flops:
            with FlopCounterMode(display=False) as counter:
                run()
            flops = counter.get_total_flops()
        if options:
            run.model.compile(**(options if setting.on_gpu else {"backend": "aot_eager"}))
        own = images_per_second(run)
        share = own / batch * flops / peak
        yield Figure(
            "steps", f"ours, {name}", own, "images/s", ">= 3x the plain loop", setting.judge(own >= 3 * fastest)
        )
        yield Figure("steps", f"ours, {name}, against the fastest plain loop", own / fastest, "x")
        yield Figure("steps", f"ours, {name}, MFU", 100 * share, "%", ">= 50 %", setting.judge(share >= 0.5))
        if setting.on_gpu:
            yield Figure("steps", f"ours, {name}, memory", torch.cuda.max_memory_allocated() / 1e9, "GB")


class Clock(Callback):
    """Measures the images per second of a training after some steps."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.images = 0
        self.start = self.end = 0.0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.warmup:
            self.start = self.now()
        self.images += len(batch["label"]) if trainer.global_step > self.warmup else 0

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self.end = self.now()

    @staticmethod
    def now() -> float:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()


def measure_runs(setting: Setting) -> Iterator[Figure]:
    """Yield images a second of whole trainings: with the loader, with one batch again and again, and of the loader."""
    crop, batch, steps = setting.pick((321, 30, 60), (65, 2, 4))
    workers = setting.pick("auto", 0)
    datamodule = SegmentationDataModule(setting.dataset(), train_transform(crop, (0.75, 1.5)), batch, workers)
    datamodule.setup("fit")
    constant = next(iter(datamodule.train_dataloader()))
    size = ["backbone.width=0.0625", "head.channels=64"] if setting.small else ["backbone=vgg16"]

    def train(data: Any) -> float:
        config = composed(*size, "backbone.weights=none", f"trainer.max_steps={steps}", "optimizer.lr=1e-4")
        parts: Any = {key: OmegaConf.to_container(config[key]) for key in Segmenter.CONFIGS}
        dataset = datamodule.train_set
        segmenter = Segmenter(**parts, classes=list(dataset.classes), palette=dataset.palette.tolist())
        clock = Clock(warmup=max(1, steps // 3))
        settings = OmegaConf.merge(config.trainer, {
            "limit_val_batches": 0, "num_sanity_val_steps": 0, "enable_checkpointing": False, "devices": 1,
            "enable_progress_bar": False, "val_check_interval": None, "default_root_dir": str(setting.folder),
        })  # fmt: skip
        callbacks = [clock, FiniteLoss(str(setting.folder / "nonfinite.pt"))]
        build_trainer(settings, callbacks=callbacks, logger=False).fit(segmenter, data)
        return clock.images / (clock.end - clock.start)

    with_loader, without = train(datamodule), train(DataLoader([constant] * steps, batch_size=None))
    datamodule.trainer = None  # whose batches the loader would continue after
    alone = statistics.median(rate(datamodule.train_dataloader()) for _ in range(setting.pick(3, 1)))
    name = type(datamodule.train_set).__name__
    yield Figure("runs", f"training on {name}", with_loader, "images/s")
    yield Figure("runs", "training on one batch again and again", without, "images/s")
    waiting = max(0.0, 1 - with_loader / without)
    yield Figure(
        "runs", "share of time that waits for data", 100 * waiting, "%", "< 3 %", setting.judge(waiting < 0.03)
    )
    yield Figure("runs", f"the loader alone, {datamodule.num_workers} workers", alone, "images/s")
    yield Figure(
        "runs", "the loader against training", alone / without, "x", ">= 1.3", setting.judge(alone >= 1.3 * without)
    )
