"""Measure the time that the CRF adds to a validation on CamVid: python -m tests.benchmarks.validation CHECKPOINT.

Whole validations with and without CRF take turns, so that changes in the machine's speed affect both sides of each
ratio.
"""

import argparse
import logging
import statistics
import time
from functools import partial

import lightning as L
from rich.console import Console

from src.crf import DenseCRF
from src.data import CamVid
from src.system.hardware import auto_precision
from src.training.callbacks import CRFRefinement
from src.training.datamodule import SegmentationDataModule
from src.training.segmenter import Segmenter, load_segmenter
from tests.crf.samples import data_folder


def seconds(segmenter: Segmenter, datamodule: SegmentationDataModule, callbacks: list[L.Callback]) -> float:
    """Return how long a whole validation takes, on the device that Lightning finds."""
    trainer = L.Trainer(
        logger=False,
        precision=auto_precision("auto")[0],
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    start = time.perf_counter()
    trainer.validate(segmenter, datamodule, verbose=False)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="of a network trained on CamVid, such as camvid_slim")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    segmenter = load_segmenter(options.checkpoint)
    datamodule = SegmentationDataModule(partial(CamVid, root=str(data_folder() / "camvid")), None, batch_size=1)
    console = Console()
    for prune in (0.01, 0.0):
        crf = DenseCRF(w1=5, sxy=50, srgb=10, prune=prune)
        rounds = []
        for _ in range(options.rounds + 1):
            with_crf = seconds(segmenter, datamodule, [CRFRefinement(crf)])
            rounds.append((with_crf, seconds(segmenter, datamodule, [])))
        rounds = rounds[1:]  # the first one warms up
        a, b = (statistics.median(times) for times in zip(*rounds, strict=True))
        ratio = statistics.median(x / y for x, y in rounds)
        console.print(
            f"{crf}\n  with CRF {a:.1f} s, without {b:.1f} s for {len(datamodule.val_set)} images: {ratio:.2f}x"
        )


if __name__ == "__main__":
    main()
