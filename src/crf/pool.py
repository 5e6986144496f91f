"""RefinementPool: many images at once, while the caller goes on with something else."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as WaitedTooLong
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from src.crf.dense_crf import DenseCRF
from src.crf.threads import DaemonThreads


class RefinementPool:
    """Runs a DenseCRF on several cores, one image each; on a GPU, one after the other.

    Threads where the engine releases the interpreter lock, spawned processes where it does not (a forked child
    would hang after torch has started its own threads). At most `pending` images are under way; submit waits
    for one to finish beyond that, so memory stays bounded however many images there are. On Linux its threads run
    at a lower priority than the caller's: the network's own threads, which wait for each other, go first.
    With a time limit, in seconds, submit waits no longer than that and raises concurrent.futures.TimeoutError.

        with RefinementPool(crf) as pool:
            futures = [pool.refine(image, score_map) for image, score_map in batch]
            labels = [future.result() for future in futures]
    """

    def __init__(
        self, crf: DenseCRF, workers: int | None = None, pending: int | None = None, time_limit: float | None = None
    ) -> None:
        if workers is None:
            workers = 1 if crf.workers == "one" else _cores()
        if workers < 1:
            raise ValueError(f"workers={workers}: give 1 or more, or None for one a core")
        self.workers = workers
        self._crf = crf
        self._time_limit = time_limit
        self._turn = threading.Lock()
        self._free = threading.BoundedSemaphore(pending or 2 * workers)
        self._executor: Executor
        if crf.workers == "processes":
            spawn = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(workers, mp_context=spawn)
        else:
            self._executor = DaemonThreads(workers, "dense-crf", partial(_begin, threading.Lock()))

    def submit(
        self,
        image: Any,
        probabilities: Any = None,
        *,
        logits: Any = None,
        size: tuple[int, int] | None = None,
    ) -> Future:
        """A future of crf(image, probabilities) or crf(image, logits=logits) for one image.

        size: (height, width) of the top left part to refine, for images padded to a common size.
        """
        scores = logits if probabilities is None else probabilities
        if size is not None:
            image, scores = (part[..., : size[0], : size[1]] for part in (image, scores))
        if logits is None:
            return self._run(scores, _call, image, scores, None)
        return self._run(scores, _call, image, probabilities, scores)

    def refine(self, image: Any, score_map: Any, stride: int = 8, size: tuple[int, int] | None = None) -> Future:
        """A future of crf.refine(image, score_map, stride): the label map of one image, cut to `size` if given."""
        if size is not None:
            image = image[..., : size[0], : size[1]]
        return self._run(score_map, _refine, image, score_map, stride)

    def close(self) -> None:
        """Waits for what was submitted, then ends the workers."""
        self._executor.shutdown(wait=True)

    def abandon(self) -> None:
        """Waits for nothing: what has not begun is cancelled, processes are killed, threads end by themselves."""
        processes = list((getattr(self._executor, "_processes", None) or {}).values())  # Python 3.14: kill_workers()
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()

    def __enter__(self) -> RefinementPool:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._executor.shutdown(wait=True, cancel_futures=kind is not None)

    def _run(self, scores: Any, function: Any, *arguments: Any) -> Future:
        if self._crf.workers == "processes":  # arrays travel by value; tensors would need a file descriptor each
            arguments = tuple(_portable(argument) for argument in arguments)
        elif isinstance(scores, Tensor) and self._crf.engine_for(scores).workers == "one":
            function = partial(_in_turn, self._turn, function)
        if not self._free.acquire(timeout=self._time_limit):
            raise WaitedTooLong
        try:
            future = self._executor.submit(function, self._crf, *arguments)
        except BaseException:
            self._free.release()
            raise
        future.add_done_callback(lambda _: self._free.release())
        return future


def _call(crf: DenseCRF, image: Any, probabilities: Any, logits: Any) -> Any:
    return crf(image, probabilities, logits=logits)


def _refine(crf: DenseCRF, image: Any, score_map: Any, stride: int) -> Any:
    return crf.refine(image, score_map, stride)


def _in_turn(turn: threading.Lock, function: Any, *arguments: Any) -> Any:
    """One at a time, for an engine that takes the whole GPU or all cores: 16 threads that start its kernels side by
    side take twice as long as one (H200)."""
    with turn:
        return function(*arguments)


def _portable(argument: Any) -> Any:
    return argument.detach().cpu().numpy() if isinstance(argument, Tensor) else argument


def _begin(once: threading.Lock) -> None:
    """What a worker does first; `once` is free for the first of them.

    GNU's OpenMP lets waiting threads spin for milliseconds, and the network's wait after every layer, unless it has
    more threads than there are cores. So one worker has it start some more, which sleep until the pool is closed. With
    16 cores, a network with the CRF beside it then took 1.2 times as long as without, and 1.6 times where they spun.
    """
    if sys.platform == "linux":  # where a thread's priority is its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    if once.acquire(blocking=False):
        torch.zeros(1 << 17)  # large enough for torch to share it out


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
