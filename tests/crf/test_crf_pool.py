"""Many images at once: equal results, bounded memory, and no process that hangs."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import TimeoutError as WaitedTooLong
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
import torch

from src.crf import DenseCRF, RefinementPool
from src.crf.engines import native_engine
from src.crf.engines.torch_engine import TorchEngine
from src.crf.inputs import upsample
from src.crf.threads import DaemonThreads
from tests.commands import run_command
from tests.crf.samples import engine_or_skip, network_like_scores


def images_of_random_sizes(count: int, largest: int):
    random = torch.Generator().manual_seed(0)
    for i in range(count):
        height, width = (int(s) for s in torch.randint(1, largest, (2,), generator=random))
        image = torch.randint(0, 255, (3, -(-height // 8), -(-width // 8)), generator=random)
        image = image.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width]
        yield image.to(torch.uint8), network_like_scores((height, width), 3 + i % 20, seed=i, present=3 + i % 6)


def through_threads(count: int, largest: int) -> None:
    crf = DenseCRF(4, 30, 10, prune=0.01, engine=engine_or_skip("native"))
    images, memory = images_of_random_sizes(count, largest), []
    with RefinementPool(crf, workers=4) as pool:
        while batch := list(itertools.islice(images, 20)):
            futures = [pool.refine_labels(*pair) for pair in batch]
            for pair, future in zip(batch, futures, strict=True):
                assert torch.equal(future.result(), crf.refine_labels(*pair))
            memory.append(resident_megabytes())
    print("resident megabytes:", memory)
    assert memory[-1] - memory[len(memory) // 2] < 50


def resident_megabytes() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_four_threads_give_the_same_as_one():
    through_threads(60, 200)


def test_futures_give_the_same_as_calls(small_image):
    crf = DenseCRF(4, 20, 10)
    size = tuple(small_image.shape[1:])
    score_map = network_like_scores(size, 5)
    logits = upsample(score_map, size, 8)
    with RefinementPool(crf, workers=2) as pool:
        assert torch.equal(pool.submit(small_image, logits=logits).result(), crf(small_image, logits=logits))
        assert torch.equal(pool.submit(small_image, logits.softmax(0)).result(), crf(small_image, logits.softmax(0)))
        assert torch.equal(
            pool.refine_labels(small_image, score_map).result(), crf.refine_labels(small_image, score_map)
        )
        with pytest.warns(DeprecationWarning, match="refine_labels") as warned:
            assert torch.equal(pool.refine(small_image, score_map).result(), crf.refine(small_image, score_map))
        assert [warning.filename for warning in warned] == [__file__] * 2
        cut = pool.submit(small_image, logits=logits, size=(20, 30)).result()
        assert torch.equal(cut, crf(small_image[:, :20, :30], logits=logits[:, :20, :30]))
        assert pool.refine_labels(small_image, score_map, size=(20, 30)).result().shape == (20, 30)
        with pytest.raises(ValueError, match="image is"):
            pool.submit(small_image, logits=logits[:, 1:]).result()
        with pytest.raises(ValueError, match="not both or neither"):
            pool.submit(small_image, logits.softmax(0), logits=logits)


def test_no_more_than_so_many_images_are_pending(small_image):
    go = threading.Event()

    class Slow:
        workers = "threads"

        def refine_labels(self, image, score_map, stride, threads):
            go.wait(10)
            return image

    with RefinementPool(Slow(), workers=1, pending=3, time_limit=0.01) as pool:
        futures = [pool.refine_labels(small_image, None) for _ in range(3)]
        with pytest.raises(WaitedTooLong):
            pool.refine_labels(small_image, None)
        go.set()
        for future in futures:
            assert future.result(10) is small_image
        assert pool.refine_labels(small_image, None).result(10) is small_image


@pytest.mark.parametrize(("workers", "threads"), [(None, 1), (1, 8), (3, 2), (9, 1)])
def test_images_share_the_cores(workers: int | None, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorder:
        workers = "threads"

        def refine_labels(self, image, score_map, stride, threads):
            return threads

    monkeypatch.setattr("src.crf.pool.cores", lambda: 8)
    with RefinementPool(Recorder(), workers) as pool:
        assert pool.refine_labels(None, None).result() == threads


def test_a_single_image_gets_as_many_cores_as_torch_uses(small_image, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_or_skip("native")
    native, used = native_engine.native, []
    recorder = SimpleNamespace(level=native.level, refine=lambda *a: (used.append(a[-1]), native.refine(*a)))
    monkeypatch.setattr(native_engine, "native", recorder)
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    crf, scores = DenseCRF(iterations=1, engine="native"), network_like_scores(small_image.shape[1:], 3, present=3)
    crf.refine_labels(small_image, scores)
    crf(small_image, logits=upsample(scores, small_image.shape[1:], 8))
    crf.refine_labels(small_image, scores, threads=2)
    assert used == [3, 3, 2]
    with pytest.raises(ValueError, match="threads=0"):
        crf.refine_labels(small_image, scores, threads=0)


def test_a_hanging_worker_does_not_block_the_caller(small_image):
    class Hanging:
        workers = "threads"

        def refine_labels(self, image, score_map, stride, threads):
            threading.Event().wait()

    pool = RefinementPool(Hanging(), workers=1, pending=2, time_limit=0.1)
    first, second = (pool.refine_labels(small_image, None) for _ in range(2))
    with pytest.raises(WaitedTooLong):
        pool.refine_labels(small_image, None)
    pool.abandon()
    assert first.running()
    assert second.cancelled()


def test_a_task_that_a_thread_takes_first_does_not_block_the_shutdown() -> None:
    class Emptied(SimpleQueue):
        def empty(self) -> bool:
            return False  # asked just before a thread takes the last task

    executor = DaemonThreads(0, "none", lambda: None)
    executor.tasks = Emptied()
    future = executor.submit(lambda: None)
    shutdown = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True}, daemon=True)
    shutdown.start()
    shutdown.join(10)
    assert not shutdown.is_alive()
    assert future.cancelled()


def test_a_thread_whose_priority_may_not_be_lowered_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    class Answer:
        workers = "threads"

        def refine_labels(self, image, score_map, stride, threads):
            return 42

    monkeypatch.setattr("os.setpriority", forbidden, raising=False)
    with RefinementPool(Answer(), workers=1) as pool:
        assert pool.refine_labels(None, None).result(10) == 42


def test_the_torch_engine_refines_one_image_at_a_time(small_image, monkeypatch):
    """For one image it uses all cores, or the GPU."""
    refine, free, found_free = TorchEngine.refine, threading.Semaphore(1), []

    def watched(self, *arguments):
        found_free.append(free.acquire(blocking=False))
        try:
            return refine(self, *arguments)
        finally:
            free.release()

    monkeypatch.setattr(TorchEngine, "refine", watched)
    crf = DenseCRF(iterations=1, engine="torch")
    score_map = network_like_scores(tuple(small_image.shape[1:]), 3, present=3)
    with RefinementPool(crf, workers=3) as pool:
        for future in [pool.refine_labels(small_image, score_map) for _ in range(6)]:
            future.result()
    assert found_free == [True] * 6


def test_pydensecrf_goes_to_processes(small_image):
    crf = DenseCRF(4, 20, 10, engine=engine_or_skip("pydensecrf"))
    score_map = network_like_scores(tuple(small_image.shape[1:]), 5)
    full = upsample(score_map, tuple(small_image.shape[1:]), 8)
    with RefinementPool(crf, workers=1) as pool:
        assert torch.equal(
            pool.refine_labels(small_image, score_map).result(timeout=60), crf.refine_labels(small_image, score_map)
        )
        for logits in (full, full.bfloat16(), full.numpy()):  # Q has their type
            q = pool.submit(small_image, logits=logits).result(timeout=60)
            expected = crf(small_image, logits=logits)
            assert (type(q), q.dtype) == (type(expected), expected.dtype)
            assert (q == expected).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_does_not_hang():
    engine_or_skip("native")
    program = """
import os, threading, torch, warnings
from src.crf import DenseCRF, RefinementPool
warnings.simplefilter("ignore")
crf = DenseCRF(engine="native")
image, scores = torch.zeros(3, 65, 65, dtype=torch.uint8), torch.randn(5, 9, 9)
stop = threading.Event()
def busy():
    size = 20
    while not stop.is_set():
        size = 20 + (size - 19) % 45
        crf.refine_labels(image[:, :size], scores, threads=1)
threads = [threading.Thread(target=busy) for _ in range(3)]
for t in threads: t.start()
expected = crf.refine_labels(image, scores, threads=2)
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(crf.refine_labels(image, scores, threads=2), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for t in threads: t.join()
"""
    done = run_command("-c", program, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_thousand_images_of_random_sizes():
    through_threads(1000, 400)
