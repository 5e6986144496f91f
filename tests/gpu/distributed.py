"""Two processes that share a device (DDP with gloo) against one."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import OmegaConf

from src.data import Shapes, train_transform
from src.training.datamodule import SegmentationDataModule
from src.training.segmenter import Segmenter
from tests.faults.commands import is_equal
from tests.gpu.figures import Figure, Setting, check, missing
from tests.models.networks import composed

STEPS, TIMEOUT = 3, 60


class SharedGPU(CUDAAccelerator):
    """The first GPU for all processes; Lightning itself wants one for each."""

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        return list(range(devices))

    @staticmethod
    def get_parallel_devices(devices: list[int]) -> list[torch.device]:
        return [torch.device("cuda", 0) for _ in devices]


def check_distributed(setting: Setting) -> Iterator[Figure]:
    """Yield whether two processes on one device train as one does, with BatchNorm frozen and synchronised."""
    for sync in (False, True):
        name = "two processes on one device equal one" + (", SyncBatchNorm" if sync else "")
        if sync and not setting.on_gpu:
            yield missing("distributed", name)
            continue
        one, two = (train_in_processes(setting, count, sync) for count in (1, 2))
        yield check("distributed", name, compare(one, two))


def compare(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> Iterator[str]:
    """Yield how the weights and metrics of two processes differ from those of one, beyond rounding."""
    if len(two) != 2 or len(one) != 1:
        yield f"{len(one)} and {len(two)} processes ended in time"
        return
    if not is_equal(two[0]["weights"], two[1]["weights"]):
        yield "the two processes have other weights"
    for name, weight in one[0]["weights"].items():
        difference = float((two[0]["weights"][name].double() - weight.double()).abs().max())
        scale = float(weight.double().abs().max())
        if not difference <= 1e-4 * max(scale, 1e-3):
            yield f"{name} differs by {difference:.1e} of {scale:.1e}"
    if abs(one[0]["loss"] - two[0]["loss"]) > 1e-4 * abs(one[0]["loss"]):
        yield f"val/loss {two[0]['loss']:.6f}, not {one[0]['loss']:.6f}"


def train_in_processes(setting: Setting, count: int, sync: bool) -> list[dict[str, Any]]:
    """Train in so many processes that share the device; return the weights and the loss that each one ends with."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")  # this process has not touched the GPU
    files = [setting.folder / f"{count}-{sync}-{rank}.pt" for rank in range(count)]
    processes = [
        context.Process(target=train, args=(setting.device, rank, count, port, sync, file))
        for rank, file in enumerate(files)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT)
        process.kill()
        process.join()
    return [torch.load(file, weights_only=True) for file in files if file.exists()]


def train(device: str, rank: int, count: int, port: int, sync: bool, file: Path) -> None:
    """Train for a few steps as one of ``count`` processes."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "GROUP_RANK": "0"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": str(count)}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    frozen = "false" if sync else "true"
    config = composed(
        "backbone.width=0.0625",
        "head.channels=64",
        "head.dropout=0",
        f"model.frozen_norm={frozen}",
        "optimizer.lr=0.01",
    )
    parts: Any = {key: OmegaConf.to_container(config[key]) for key in Segmenter.CONFIGS}
    segmenter = Segmenter(**parts, classes=list(Shapes.classes), palette=Shapes.palette.tolist())
    dataset = partial(Shapes, samples={"train": 4 * STEPS, "val": 4}, size=65)
    trainer = Trainer(
        accelerator=SharedGPU() if device == "cuda" else "cpu",
        devices=count,
        strategy=DDPStrategy(process_group_backend="gloo"),
        plugins=[TorchElasticEnvironment()],
        sync_batchnorm=sync,
        max_steps=STEPS,
        limit_val_batches=1.0,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(segmenter, SegmentationDataModule(dataset, train_transform(65), batch_size=4, num_workers=0))
    weights = {name: value.cpu() for name, value in segmenter.state_dict().items()}
    torch.save({"weights": weights, "loss": float(trainer.callback_metrics["val/loss"])}, file)
