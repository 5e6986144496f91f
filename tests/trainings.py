"""Short trainings by command, on a few small generated images, for tests of several topics."""

import csv
from pathlib import Path

from tests.commands import run_command

SMALL = [
    "dataset.size=65",
    "dataset.samples={train: 8, val: 3}",
    "backbone.width=0.0625",
    "head.channels=64",
    "data.batch_size=4",
    "data.num_workers=0",
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
]


def train(folder: Path, *overrides: str, small: bool = True, multirun: bool = False) -> list[Path]:
    """Run ``python -m src.train`` and return the folders of its runs; what it printed is in stdout.txt."""
    folder.mkdir(exist_ok=True)
    arguments = [*(["-m"] if multirun else []), *(SMALL if small else []), *overrides]
    done = run_command("train", *arguments, f"paths.log_dir={folder}")
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return sorted(path.parent for path in folder.rglob("metrics.json"))


def losses(run: Path) -> list[float]:
    """Return the training losses that a run has logged, in order."""
    with open(run / "csv" / "metrics.csv") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
