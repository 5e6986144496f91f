"""Images of one size that are refined together, because one image does not fill a GPU."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

from src.crf.dense_crf import DenseCRF

MAX_BATCH = 16  # images; on an H200, 16 at once take a quarter to two fifths of the time of 16 one by one


@dataclass(eq=False)
class Request:
    """An image that waits for its label map."""

    image: Tensor
    score_map: Tensor
    stride: int
    labels: Future[Tensor] = field(default_factory=Future)

    @property
    def kind(self) -> Hashable:
        """What requests that are refined together have in common."""
        tensors = (self.image, self.score_map)
        return self.stride, *((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)


class BatchRefiner:
    """Refines waiting images in batches of one size.

    Args:
        crf: refines the images.
        busy: held while a batch is refined. On an H200, 16 threads that start its kernels at the same time take twice
            as long as one.
    """

    def __init__(self, crf: DenseCRF, busy: threading.Lock) -> None:
        self.crf = crf
        self.busy = busy
        self.access = threading.Lock()
        self.waiting: list[Request] = []

    def add(self, image: Tensor, score_map: Tensor, stride: int) -> Future[Tensor]:
        """Return the future label map of an image, which a later ``refine_next`` computes."""
        request = Request(image, score_map, stride)
        with self.access:
            self.waiting.append(request)
        return request.labels

    def refine_next(self) -> None:
        """Refine the image that has waited longest, and others of its size; do nothing if no image waits."""
        with self.busy:
            batch = [request for request in self.take() if request.labels.set_running_or_notify_cancel()]
            if not batch:
                return
            try:
                images = torch.stack([request.image for request in batch])
                score_maps = torch.stack([request.score_map for request in batch])
                labels = self.crf.refine_labels(images, score_maps, batch[0].stride)
            except Exception:  # for example, one score map is not finite, or memory is short
                for request in batch:
                    self.refine_alone(request)
                return
            for request, label in zip(batch, labels, strict=True):
                request.labels.set_result(label)

    def cancel(self) -> None:
        """Cancel all waiting images."""
        with self.access:
            waiting, self.waiting = self.waiting, []
        for request in waiting:
            request.labels.cancel()

    def take(self) -> list[Request]:
        """Remove and return waiting images of the first one's kind, at most ``MAX_BATCH``."""
        with self.access:
            batch = [request for request in self.waiting if request.kind == self.waiting[0].kind][:MAX_BATCH]
            self.waiting = [request for request in self.waiting if request not in batch]
        return batch

    def refine_alone(self, request: Request) -> None:
        """Refine one image, and set its future to the label map or to the error."""
        try:
            request.labels.set_result(self.crf.refine_labels(request.image, request.score_map, request.stride))
        except Exception as error:
            request.labels.set_exception(error)
