"""Loaders: augmented crops for training, whole images at their own size for validation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from jaxtyping import UInt8
from lightning import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from src.data.dataset import DatasetError, SegmentationDataset
from src.data.sampling import Draw, ResumableSampler
from src.system.processes import cores, start_method
from src.training.lightning_state import batches_begun

if TYPE_CHECKING:
    from albumentations import BaseCompose


class Batch(TypedDict):
    """What the loaders give; uint8 is a quarter of the bytes on the way to the device."""

    image: UInt8[Tensor, "batch 3 height width"]  # RGB, laid out channels-last
    label: UInt8[Tensor, "batch height width"]
    id: list[str]


class SegmentationDataModule(LightningDataModule):
    """A dataset, split and batched.

    Args:
        dataset: called with ``split="train"`` and ``split="val"``.
        augmentation: an albumentations pipeline, for training only.
        batch_size: images a step, of all devices together.
        num_workers: loader processes; "auto" is one for every core that is left beside the training process, 8 at most.
        seed: of order and augmentation.
    """

    def __init__(
        self,
        dataset: Callable[..., SegmentationDataset],
        augmentation: BaseCompose | None,
        batch_size: int,
        num_workers: int | str = "auto",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or batch_size != int(batch_size):
            raise ValueError(f"batch_size={batch_size}: must be a whole number, 1 or more")
        if num_workers != "auto" and (not isinstance(num_workers, int) or num_workers < 0):
            raise ValueError(f"num_workers={num_workers}: must be auto, or a whole number, 0 or more")
        self.train_set = dataset(split="train")
        self.val_set = dataset(split="val")
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.num_workers = num_workers if isinstance(num_workers, int) else default_workers()

    def check(self) -> None:
        """Find faults in the data before training; see ``SegmentationDataset.check``."""
        self.train_set.check(self.num_workers)
        self.val_set.check(self.num_workers)

    def setup(self, stage: str) -> None:
        """Open the datasets' caches, in every process; whoever comes first builds them."""
        self.val_set.open_cache(self.num_workers)
        if stage == "fit":
            self.train_set.open_cache(self.num_workers)

    def train_dataloader(self) -> DataLoader[Batch]:
        # Lightning means loaders that keep no state of their own; ours needs none.
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if self.batch_size % processes:
            raise DatasetError(
                f"batch_size={self.batch_size}: cannot be shared out to {processes} devices; "
                f"it is that of all devices together, so set a multiple of {processes}"
            )
        sampler = ResumableSampler(
            len(self.train_set), self.batch_size, self.seed, self.behind, rank=rank, processes=processes
        )
        samples = Tensors(self.train_set, self.augmentation)
        return self.loader(samples, self.batch_size // processes, sampler=sampler, drop_last=True)

    def behind(self) -> int:
        """Return the batches that the run has behind it."""
        return batches_begun(self.trainer) if self.trainer else 0

    def val_dataloader(self) -> DataLoader[Batch]:
        # One image a batch: every image keeps its own size, and no result depends on its neighbours in a batch.
        return self.loader(Tensors(self.val_set, None), batch_size=1, sampler=self.shard(self.val_set))

    @staticmethod
    def shard(dataset: SegmentationDataset) -> Sampler[int] | None:
        """This process's samples: over all processes every sample once, none twice to make even shares."""
        if not distributed.is_available() or not distributed.is_initialized():
            return None
        if len(dataset) < (processes := distributed.get_world_size()):
            raise DatasetError(
                f"{len(dataset)} validation images cannot be shared out to {processes} devices; take fewer devices"
            )
        # Lightning's warning is about samplers that do repeat samples.
        warnings.filterwarnings("ignore", "Using `DistributedSampler` with the dataloaders")
        # Shares that differ by one cannot hang: DDP in evaluation talks at the first batch, metrics at the end.
        return UnrepeatedDistributedSampler(dataset, shuffle=False)

    def loader(self, dataset: Dataset, batch_size: int, **options: Any) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            num_workers=self.num_workers,
            multiprocessing_context=start_method(self.num_workers),
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collate,
            **options,
        )


class Tensors(Dataset):
    """Samples of a dataset, augmented, as tensors."""

    def __init__(self, dataset: SegmentationDataset, transform: BaseCompose | None) -> None:
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw | int) -> tuple[Tensor, Tensor, str]:
        index, seed = draw if isinstance(draw, tuple) else (draw, 0)
        image, label, id_ = self.dataset[index]
        if self.transform is not None:
            self.transform.set_random_seed(seed)
            augmented = self.transform(image=image, mask=label)
            image, label = augmented["image"], augmented["mask"]
        return torch.from_numpy(np.array(image)), torch.from_numpy(np.array(label)), id_


def collate(samples: list[tuple[Tensor, Tensor, str]]) -> Batch:
    """Stack; (batch, height, width, 3) seen as (batch, 3, height, width) is already channels-last."""
    images, labels, ids = zip(*samples, strict=True)
    return {"image": torch.stack(images).permute(0, 3, 1, 2), "label": torch.stack(labels), "id": list(ids)}


def default_workers() -> int:
    """Cores this process may use, less one for training; 8 at most."""
    return min(8, max(1, cores() - 1))
