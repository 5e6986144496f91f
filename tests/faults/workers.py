"""Faults of data workers, of CRF workers and of the cache of decoded samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.accidents import action_at_step
from tests.faults.bench import Bench, Outcome
from tests.faults.commands import (
    VALIDATE_EVERY,
    differences,
    is_equal,
    logged_values,
    read_checkpoint,
    run_folders,
    start_training,
)


def data_worker(bench: Bench) -> Iterator[Outcome]:
    command = bench.run_until_exit("worker", action_at_step("kill_data_worker", 9), "data.num_workers=2", status=2)
    lost = len({step for step, *_ in logged_values(run_folders(bench.folder / "worker"))}) - bench.step("worker")
    _, problems = bench.resume("worker", "data.num_workers=2")
    yield Outcome("data worker killed", f"{lost} steps", command.line("error:"), problems)


def crf_worker(bench: Bench) -> Iterator[Outcome]:
    """Training continues to the same weights; only the metrics with CRF of one validation are missing."""
    for fault, target, limit in (("CRF worker hangs", "HangingCRF", 20), ("CRF worker killed", "DyingCRF", 600)):
        crf = (f"crf._target_=tests.faults.lost_workers.{target}", f"+crf.marker={bench.folder / target}.once")
        command = bench.run_until_exit(target, *crf, f"callbacks.crf.time_limit={limit}", status=0)
        (run,) = run_folders(bench.folder / target)
        differing = logged_values([bench.reference]) ^ logged_values([run])
        missing = {(step, "_crf" in name) for step, name, _ in differing if not name.startswith("best/")}
        problems = [] if missing == {(str(VALIDATE_EVERY - 1), True)} else [f"figures: {missing}"]
        one, other = (read_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in (bench.reference, run))
        problems += [] if is_equal(one["state_dict"], other["state_dict"]) else ["weights"]
        yield Outcome(
            fault, "the CRF's metrics of that validation", command.line("without the CRF's metrics"), problems
        )


def damaged_cache(bench: Bench) -> Iterator[Outcome]:
    """On a data set of files, which is trained on without a cache first."""
    write_pairs(bench.folder / "pairs")
    settings = (f"dataset.root={bench.folder}/pairs", "dataset.classes=[ground,thing]", "augmentation.crop_size=65")
    data = ("dataset=folder", *settings)
    cache = f"dataset.cache={bench.folder}/cache"
    for name, *overrides in (("files",), ("cached", cache)):
        command = start_training(bench.folder / name, *overrides, data=data)
        if command.wait():
            raise RuntimeError(command.text)
    (reference,) = run_folders(bench.folder / "files")
    for damage in ("bytes flipped", "cut short"):
        for pack in (bench.folder / "cache").glob("*.pack"):
            packed = bytearray(pack.read_bytes())
            packed[100] ^= 255
            pack.write_bytes(packed if damage == "bytes flipped" else packed[: len(packed) // 2])
        name = f"cache_{damage.replace(' ', '_')}"
        command = start_training(bench.folder / name, cache, data=data)
        problems = [command.text] if command.wait() else differences(reference, run_folders(bench.folder / name))
        message = command.line("is damaged") or command.line("rebuilding it")
        yield Outcome(f"cache damaged: {damage}", "nothing", message, problems)


def write_pairs(root: Path) -> None:
    """Write ten images of noise, each with a square of another noise to learn."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(13):
        mask = np.zeros((70, 80), np.uint8)
        mask[10:40, 20:60] = 1
        image = rng.integers(0, 128, (70, 80, 3), np.uint8) + 100 * mask[..., None]
        Image.fromarray(image.astype(np.uint8)).save(root / f"images/{number}.png")
        Image.fromarray(mask).save(root / f"masks/{number}.png")
    (root / "train.txt").write_text("".join(f"{number}\n" for number in range(10)))
    (root / "val.txt").write_text("10\n11\n12\n")
