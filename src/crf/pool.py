"""A pool of workers that refines many images at once, while the caller continues."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from src.crf.batches import MAX_BATCH, BatchRefiner
from src.crf.dense_crf import DenseCRF
from src.crf.inputs import is_on_gpu
from src.crf.threads import DaemonThreads

Array = Tensor | np.ndarray
Scores = TypeVar("Scores", Tensor, np.ndarray)
Result = TypeVar("Result")


class RefinementPool:
    """Runs a ``DenseCRF`` on several images at once, which share the cores; on a GPU, in batches of one size.

    The workers are threads if the engine releases the interpreter lock, and otherwise spawned processes (a forked
    process would hang after torch has started its threads). On Linux, the threads have a lower priority than the
    caller's, so that they do not delay the network's threads, which wait for each other.

        with RefinementPool(crf) as pool:
            futures = [pool.refine_labels(image, score_map) for image, score_map in batch]
            labels = [future.result() for future in futures]

    Args:
        crf: refines the images.
        workers: images refined at the same time; None for one per core, or 1 if the engine itself uses all cores. With
            fewer workers than cores, several cores work on each image.
        pending: largest number of unfinished images, which limits the memory; ``submit`` and ``refine_labels`` wait
            until there are fewer. None for twice the number of workers, and for two batches of label maps on a GPU.
        time_limit: longest wait of these in seconds, after which they raise ``concurrent.futures.TimeoutError``;
            None for no limit.

    Raises:
        ValueError: if ``workers`` is not positive.
    """

    def __init__(
        self, crf: DenseCRF, workers: int | None = None, pending: int | None = None, time_limit: float | None = None
    ) -> None:
        if workers is None:
            workers = 1 if crf.workers == "one" else cores()
        if workers < 1:
            raise ValueError(f"workers={workers}: give 1 or more, or None for one per core")
        self.workers = workers
        self.threads = max(1, cores() // workers)  # per image
        self.crf = crf
        self.time_limit = time_limit
        self.one_at_a_time = threading.Lock()
        self.free_slots = threading.BoundedSemaphore(pending or 2 * workers)
        self.free_batch_slots = threading.BoundedSemaphore(pending or 2 * MAX_BATCH)
        self.batches = BatchRefiner(crf, self.one_at_a_time)
        self.executor: DaemonThreads | ProcessPoolExecutor
        if crf.workers == "processes":
            spawn = multiprocessing.get_context("spawn")
            self.executor = ProcessPoolExecutor(workers, mp_context=spawn, initializer=ignore_signals)
        else:
            self.executor = DaemonThreads(workers, "dense-crf", partial(prepare_thread, threading.Lock()))

    @overload
    def submit(self, image: Array, probabilities: Scores, *, size: tuple[int, int] | None = None) -> Future[Scores]: ...

    @overload
    def submit(self, image: Array, *, logits: Scores, size: tuple[int, int] | None = None) -> Future[Scores]: ...

    def submit(
        self,
        image: Array,
        probabilities: Array | None = None,
        *,
        logits: Array | None = None,
        size: tuple[int, int] | None = None,
    ) -> Future[Any]:
        """Return a future of ``crf(image, probabilities)`` or ``crf(image, logits=logits)`` for one image.

        The result of an engine that runs in processes is on the CPU.

        Args:
            image, probabilities, logits: see ``DenseCRF.__call__``.
            size: height and width of the top left part to refine, for images padded to a common size.

        Raises:
            ValueError: if both or neither of ``probabilities`` and ``logits`` are given.
        """
        scores = logits if probabilities is None else probabilities
        if scores is None or (probabilities is not None and logits is not None):
            raise ValueError("give either probabilities or logits=..., not both or neither")
        image, scores = crop(image, size), crop(scores, size)
        return self.submit_call(scores, call_crf, image, scores, logits is not None, self.threads)

    def refine_labels(
        self, image: Array, score_map: Array, stride: int = 8, size: tuple[int, int] | None = None
    ) -> Future[Tensor]:
        """Return a future of ``crf.refine_labels(image, score_map, stride)``, the label map of one image.

        The result of an engine that runs in processes is on the CPU.

        Args:
            image, score_map, stride: see ``DenseCRF.refine_labels``.
            size: height and width of the top left part to refine, for images padded to a common size.
        """
        image = crop(image, size)
        if isinstance(score_map, Tensor) and is_on_gpu(score_map) and self.runs_one_at_a_time(score_map):
            return self.in_slot(self.free_batch_slots, partial(self.add_to_batch, image, score_map, stride))
        return self.submit_call(score_map, call_refine_labels, image, score_map, stride, self.threads)

    def refine(
        self, image: Array, score_map: Array, stride: int = 8, size: tuple[int, int] | None = None
    ) -> Future[Tensor]:
        """The former name of ``refine_labels``; deprecated."""
        warnings.warn("RefinementPool.refine is now named refine_labels", DeprecationWarning, stacklevel=2)
        return self.refine_labels(image, score_map, stride, size)

    def close(self) -> None:
        """Wait for all submitted images, then stop the workers."""
        self.executor.shutdown(wait=True)

    def abandon(self) -> None:
        """Stop the workers without waiting.

        Images that no worker has started are cancelled. Processes are killed; threads end after their current image.
        """
        processes = []
        if isinstance(self.executor, ProcessPoolExecutor):
            processes = list((self.executor._processes or {}).values())  # Python 3.14: kill_workers()
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.batches.cancel()
        for process in processes:
            process.kill()

    def __enter__(self) -> RefinementPool:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.executor.shutdown(wait=True, cancel_futures=kind is not None)
        self.batches.cancel()

    def submit_call(self, scores: Array, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Return the future of ``function(crf, *arguments)``, called as the engine for these scores permits."""
        if self.crf.workers == "processes":
            function = partial(return_by_value, function)
            arguments = tuple(by_value(argument) for argument in arguments)
        elif self.runs_one_at_a_time(scores):
            function = partial(run_locked, self.one_at_a_time, function)
        return self.in_slot(self.free_slots, lambda: self.executor.submit(function, self.crf, *arguments))

    def runs_one_at_a_time(self, scores: Array) -> bool:
        """Return whether the engine for these scores needs the whole GPU or all cores."""
        return (
            self.crf.workers != "processes"
            and isinstance(scores, Tensor)
            and self.crf.engine_for(scores).workers == "one"
        )

    def add_to_batch(self, image: Array, score_map: Tensor, stride: int) -> Future[Tensor]:
        """Return the future of an image that is refined together with others of its size."""
        labels = self.batches.add(torch.as_tensor(image), score_map, stride)
        self.executor.submit(self.batches.refine_next)
        return labels

    def in_slot(self, slots: threading.BoundedSemaphore, submit: Callable[[], Future[Result]]) -> Future[Result]:
        """Return the future of a submitted image, which occupies a slot until it is done."""
        if not slots.acquire(timeout=self.time_limit):
            raise FutureTimeout
        try:
            future = submit()
        except BaseException:
            slots.release()
            raise
        future.add_done_callback(lambda _: slots.release())
        return future


class ByValue:
    """A tensor that another process unpickles as a copy on the CPU.

    The way in which ``multiprocessing`` sends a tensor needs a file descriptor for each.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach().cpu().contiguous()

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[np.ndarray, torch.dtype]]:
        return from_bytes, (self.tensor.view(torch.uint8).numpy(), self.tensor.dtype)


def from_bytes(values: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Return a tensor from its bytes; the inverse of ``ByValue``."""
    return torch.from_numpy(values).view(dtype)


def by_value(argument: Any) -> Any:
    """Return a tensor wrapped in ``ByValue``, anything else as it is."""
    return ByValue(argument) if isinstance(argument, Tensor) else argument


def return_by_value(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in another process; a tensor that it returns comes back as a copy."""
    return by_value(function(*arguments))


def call_crf(crf: DenseCRF, image: Array, scores: Scores, are_logits: bool, threads: int) -> Scores:
    """Return Q of one image, from logits or probabilities."""
    return crf(image, logits=scores, threads=threads) if are_logits else crf(image, scores, threads=threads)


def call_refine_labels(crf: DenseCRF, image: Array, score_map: Array, stride: int, threads: int) -> Tensor:
    """Return the label map of one image."""
    return crf.refine_labels(image, score_map, stride, threads)


def run_locked(lock: threading.Lock, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function while holding a lock, for an engine that uses the whole GPU or all cores."""
    with lock:
        return function(*arguments)


def crop(array: Array, size: tuple[int, int] | None) -> Array:
    """Return the top left part of an array, of this height and width; None for all of it."""
    return array if size is None else array[..., : size[0], : size[1]]


def ignore_signals() -> None:
    """Ignore the signals that reach all processes of a group, from Ctrl-C, SLURM, systemd or timeout.

    The caller's process decides when its workers end.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def prepare_thread(first: threading.Lock) -> None:
    """Lower the priority of a worker's thread, and keep OpenMP's threads from spinning.

    GNU's OpenMP lets waiting threads spin for milliseconds unless it has more threads than there are cores, and the
    network's threads wait after every layer. So the first worker makes OpenMP start more threads, which sleep until
    the pool is closed. On 16 cores, a network took 1.2 times as long while the CRF was running as without it; with
    spinning threads, 1.6 times.

    Args:
        first: a lock that the first worker takes and never releases.
    """
    if sys.platform == "linux":  # elsewhere, threads have no priority of their own
        with suppress(OSError):  # a sandbox may forbid it; the thread must work all the same
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    if first.acquire(blocking=False):
        torch.zeros(1 << 17)  # large enough for torch to use several threads


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
