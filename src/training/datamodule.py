"""Data loaders: augmented crops for training, whole images at their own size for validation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from jaxtyping import UInt8
from lightning import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from src.data.checks import check_splits
from src.data.dataset import DatasetError, SegmentationDataset
from src.data.parallel import WorkerLoader
from src.data.sampling import Draw, ResumableSampler
from src.system.counted import counted
from src.system.processes import cores, start_method
from src.system.signals import ignore_stop_signals
from src.training.lightning_state import count_begun_batches

if TYPE_CHECKING:
    from albumentations import BaseCompose

log = logging.getLogger(__name__)


class Batch(TypedDict):
    """A batch of samples; images stay uint8, which is a quarter of the bytes to send to the device."""

    image: UInt8[Tensor, "batch 3 height width"]  # RGB, laid out channels-last
    label: UInt8[Tensor, "batch height width"]
    id: list[str]


class ValidationDataModule(LightningDataModule):
    """The loader of a data set that is validated.

    Args:
        val_set: the data set.
        num_workers: data workers; "auto" takes one per core that the main process leaves free, at most 8.

    Raises:
        ValueError: if ``num_workers`` is neither "auto" nor a whole number, 0 or more.
    """

    def __init__(self, val_set: SegmentationDataset, num_workers: int | str = "auto") -> None:
        super().__init__()
        if num_workers != "auto" and (not isinstance(num_workers, int) or num_workers < 0):
            raise ValueError(f"num_workers={num_workers}: must be auto, or a whole number, 0 or more")
        self.val_set = val_set
        self.num_workers = num_workers if isinstance(num_workers, int) else default_workers()

    def setup(self, stage: str) -> None:
        """Open the data set's cache in every process; the first process that gets there builds it."""
        self.val_set.open_cache(self.num_workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of validation samples, one image per batch."""
        # One image per batch: every image keeps its own size, and no prediction depends on the other images of a batch.
        return self.make_loader(AugmentedSamples(self.val_set, None), batch_size=1, sampler=self.shard(self.val_set))

    @staticmethod
    def shard(dataset: SegmentationDataset) -> Sampler[int] | None:
        """Return a sampler of this process's share of a data set, or None if there is one process only.

        Over all processes every sample occurs once; none is repeated to make the shares even.
        """
        if not distributed.is_available() or not distributed.is_initialized():
            return None
        if len(dataset) < (processes := distributed.get_world_size()):
            raise DatasetError(
                f"{counted(len(dataset), 'validation image')} cannot be divided among {processes} devices; use "
                "fewer devices"
            )
        # Shares of unequal size cannot hang: in evaluation, DDP communicates at the first batch and metrics at the end.
        return UnrepeatedDistributedSampler(dataset, shuffle=False)

    def make_loader(self, dataset: Dataset, batch_size: int, **options: Any) -> DataLoader:
        """Return a loader with the settings that all loaders share."""
        return WorkerLoader(
            dataset,
            batch_size=batch_size,
            num_workers=self.num_workers,
            multiprocessing_context=start_method(self.num_workers),
            persistent_workers=self.num_workers > 0,
            worker_init_fn=ignore_stop_signals,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collate,
            **options,
        )


class SegmentationDataModule(ValidationDataModule):
    """The loaders of a data set's training and validation splits.

    Args:
        dataset: called with ``split="train"`` and ``split="val"``.
        augmentation: an albumentations pipeline, for training only; None for none.
        batch_size: images per batch, over all devices together.
        num_workers: data workers; "auto" takes one per core that the training process leaves free, at most 8.
        seed: of the samples' order and augmentation.

    Raises:
        ValueError: if ``batch_size`` is not positive.
    """

    def __init__(
        self,
        dataset: Callable[..., SegmentationDataset],
        augmentation: BaseCompose | None,
        batch_size: int,
        num_workers: int | str = "auto",
        seed: int = 0,
    ) -> None:
        train_set = dataset(split="train")
        super().__init__(dataset(split="val"), num_workers)
        if batch_size < 1 or batch_size != int(batch_size):
            raise ValueError(f"batch_size={batch_size}: must be a whole number, 1 or more")
        self.train_set = train_set
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed

    def check(self) -> None:
        """Find faults in the data before training; see ``src.data.checks.check_splits``."""
        check_splits({"train": self.train_set, "val": self.val_set}, self.num_workers)

    def check_devices(self, count: int) -> None:
        """Check that a batch can be divided among this many devices.

        Raises:
            DatasetError: if it cannot.
        """
        if self.batch_size % count:
            raise DatasetError(
                f"data.batch_size={self.batch_size}: cannot be divided among {count} devices; "
                f"it counts the images of all devices together, so set a multiple of {count}"
            )

    def setup(self, stage: str) -> None:
        """Open the data sets' caches in every process; the first process that gets there builds them."""
        super().setup(stage)
        if stage == "fit":
            self.train_set.open_cache(self.num_workers)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of augmented training samples, beginning after the batches already trained."""
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        self.check_devices(processes)
        sampler = ResumableSampler(
            len(self.train_set), self.batch_size, self.seed, self.count_batches_done, rank=rank, processes=processes
        )
        samples = AugmentedSamples(self.train_set, self.augmentation)
        return self.make_loader(samples, self.batch_size // processes, sampler=sampler, drop_last=True)

    def sample_images(self, count: int = 8) -> Iterator[UInt8[Tensor, "3 height width"]]:
        """Yield augmented images of the training set, evenly spaced and always the same."""
        samples = AugmentedSamples(self.train_set, self.augmentation)
        for index in range(0, len(samples), max(1, len(samples) // count))[:count]:
            yield samples[index][0].permute(2, 0, 1)

    def count_batches_done(self) -> int:
        """Return the number of training batches already trained."""
        return count_begun_batches(self.trainer) if self.trainer else 0


class AugmentedSamples(Dataset):
    """Samples of a data set, augmented and converted to tensors."""

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
    """Stack samples into a batch.

    The arrays (batch, height, width, 3), seen as (batch, 3, height, width), are channels-last without a copy.
    """
    images, labels, ids = zip(*samples, strict=True)
    return {"image": torch.stack(images).permute(0, 3, 1, 2), "label": torch.stack(labels), "id": list(ids)}


def default_workers() -> int:
    """Return the number of cores that this process may use, less one for training; at most 8."""
    return min(8, max(1, cores() - 1))
