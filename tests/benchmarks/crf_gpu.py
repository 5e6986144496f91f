"""The dense CRF on a GPU against the native engine on the CPU, in one run: python -m tests.benchmarks.crf_gpu.

python -m tests.benchmarks.crf_gpu [--images 16] [--rounds 5] [--markdown FILE]

Images, scores and settings are those of tests.benchmarks.crf; scores are on the GPU, as after a network. Every round
runs every contestant once, in turn. Times are the best of the rounds, and of whole calls: they include building the
lattice and checking the input.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

from src.crf import DenseCRF, RefinementPool
from src.crf.lattice.row_sums import kernel_failure
from tests.benchmarks.crf import CORES, SETTINGS, Case, report, synthetic_case


def contestants(
    case: Case, setting: str, crf: DenseCRF, pool: RefinementPool, device: str = "cuda"
) -> dict[str, Callable[[], Tensor]]:
    """Return functions that compute Q or labels of all images; the first one uses ``crf`` on the CPU."""
    exact, pruned = (DenseCRF(w1=4, **SETTINGS[setting], engine="torch", prune=prune) for prune in (0.0, 0.01))
    on_cpu = case.logits()
    images, score_maps = torch.stack(case.images).to(device), torch.stack(case.score_maps).to(device)
    logits = torch.stack(on_cpu).to(device)
    count = len(images)

    def cpu() -> Tensor:
        futures = [pool.submit(image, logits=scores) for image, scores in zip(case.images, on_cpu, strict=True)]
        return torch.stack([future.result() for future in futures])

    return {
        f"{crf.engine_name} on the CPU, exact, {pool.workers} at a time": cpu,
        f"torch, {count} at a time": lambda: exact(images, logits=logits),
        f"torch, {count} at a time, prune=0.01": lambda: pruned(images, logits=logits),
        "torch, one by one": lambda: torch.stack([exact(i, logits=s) for i, s in zip(images, logits, strict=True)]),
        "torch, one by one, prune=0.01, labels from score maps": lambda: torch.stack(
            [pruned.refine_labels(i, s) for i, s in zip(images, score_maps, strict=True)]
        ),
    }


def bench(case: Case, setting: str, rounds: int) -> Table:
    title = f"{case.name}, setting {setting}, {len(case.images)} images"
    table = Table("", "ms / image", "x the CPU", "labels equal", "max |dQ|", "peak GB", title=title)
    crf = DenseCRF(w1=4, **SETTINGS[setting])
    with RefinementPool(crf) as pool:
        runs = contestants(case, setting, crf, pool)
        results, peaks, times = {}, {}, {name: [] for name in runs}
        for name, run in runs.items():  # a first round that does not count
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            results[name] = run().cpu()
            peaks[name] = (torch.cuda.max_memory_allocated() - before) / 1e9
        for _ in range(rounds):
            for name, run in runs.items():
                torch.cuda.synchronize()
                begin = time.perf_counter()
                run()
                torch.cuda.synchronize()
                times[name].append((time.perf_counter() - begin) / len(case.images))
    on_cpu, *_ = runs
    reference = results[on_cpu]
    for name, found in results.items():
        labels = found if found.ndim == 3 else found.argmax(1)
        equal = (labels == reference.argmax(1)).double().mean().item()
        change = None if found.ndim == 3 else (found.float() - reference).abs().max().item()
        table.add_row(
            name,
            f"{1000 * min(times[name]):.2f}",
            f"{min(times[on_cpu]) / min(times[name]):.1f}",
            f"{100 * equal:.4f} %",
            "" if change is None else f"{change:.1e}",
            "" if name == on_cpu else f"{peaks[name]:.1f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16, help="in a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", type=Path, help="write the tables to this file too")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU is at hand: nothing to measure (tests.benchmarks.crf measures the CPU's engines)")
        return
    note = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {CORES} cores, "
    note += "Triton" if kernel_failure(torch.device("cuda", 0)) is None else "no Triton"
    case = synthetic_case(arguments.images)
    report(note, (bench(case, setting, arguments.rounds) for setting in SETTINGS), arguments.markdown)


if __name__ == "__main__":
    main()
