"""Counts and sums over the devices that share a batch.

DDP averages the gradients of all devices. A loss that is a ratio of sums over the whole batch needs the sums of all
devices; otherwise its gradient depends on how images are distributed. All devices have to call these functions
together. They do so in training, but not in validation, where one device can have more images than another.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from src.labels import VOID


def count_devices() -> int:
    """Return the number of devices that share a batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def mean_over_devices(count: Tensor) -> Tensor:
    """Return the mean of a count over all devices: the count of the whole batch, divided by the number of devices."""
    if count_devices() == 1:
        return count
    count = count.float()
    distributed.all_reduce(count)
    return count / count_devices()


def mean_over_labelled(loss: Tensor, label: Tensor, training: bool) -> Tensor:
    """Return the mean loss of the positions that are not ``VOID``; 0 if there are none.

    Args:
        loss: loss of each position; 0 where the label is ``VOID``.
        label: labels, of the same shape.
        training: count the positions of all devices.
    """
    labelled = (label != VOID).sum()
    return loss.sum() / (mean_over_devices(labelled) if training else labelled).clamp(min=1)


def sum_over_devices(values: Tensor) -> Tensor:
    """Return the sum over all devices, with a gradient whose average by DDP is the gradient of the whole batch."""
    if count_devices() == 1:
        return values
    total = values.detach().clone()
    distributed.all_reduce(total)
    return total + count_devices() * (values - values.detach())


def gather_over_devices(values: Tensor) -> Tensor:
    """Return the values of all devices, concatenated along the last dimension in order of rank, without a gradient.

    The values must have the same shape on all devices.
    """
    if count_devices() == 1:
        return values.detach()
    parts = [torch.empty_like(values) for _ in range(count_devices())]
    distributed.all_gather(parts, values.detach().contiguous())
    return torch.cat(parts, dim=-1)


def own_share(values: Tensor) -> Tensor:
    """Return this device's part of the result of ``gather_over_devices``."""
    if count_devices() == 1:
        return values
    return values.chunk(count_devices(), dim=-1)[distributed.get_rank()]
