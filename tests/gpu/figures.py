"""What the parts share: how they run, and the figures that they find."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from src.data import CamVid, Shapes
from tests.crf.samples import data_folder

NEEDS_GPU = "needs a GPU"


class Setting(NamedTuple):
    """How a part runs.

    Attributes:
        device: cuda or cpu.
        small: run a tiny network for a few steps, to try the part out.
        folder: an empty folder for the part's files.
    """

    device: str
    small: bool
    folder: Path

    @property
    def on_gpu(self) -> bool:
        """Whether the part runs on a GPU."""
        return self.device == "cuda"

    def pick(self, full: Any, small: Any) -> Any:
        """Return the value for this size of the run."""
        return small if self.small else full

    def judge(self, met: bool) -> bool | None:
        """Return whether a goal of speed is met; None on a CPU, for which it is not meant."""
        return met if self.on_gpu else None

    def dataset(self) -> Any:
        """Return CamVid's class if its files are at hand, otherwise that of generated images of about its size."""
        root = data_folder() / "camvid"
        if root.is_dir() and not self.small:
            return partial(CamVid, root=str(root), cache=str(self.folder / "cache"))
        samples = self.pick({"train": 360, "val": 100}, {"train": 8, "val": 2})
        return partial(Shapes, samples=samples, size=self.pick(417, 65))


class Figure(NamedTuple):
    """A figure of a part.

    Attributes:
        part: name of the part.
        name: what was measured or checked.
        value: a number; or a text, such as "equal" or why there is no number.
        unit: of a number.
        goal: what is wanted, as a text.
        ok: whether the goal is met; None if there is no goal, or nothing to judge it by.
    """

    part: str
    name: str
    value: float | str
    unit: str = ""
    goal: str = ""
    ok: bool | None = None

    @property
    def text(self) -> str:
        """The value with its unit."""
        return self.value if isinstance(self.value, str) else f"{self.value:.4g} {self.unit}".strip()


def check(part: str, name: str, problems: Iterable[str]) -> Figure:
    """Return the figure of a check: "yes", or its problems."""
    found = "; ".join(problems)
    return Figure(part, name, found or "yes", ok=not found)


def missing(part: str, name: str) -> Figure:
    """Return the figure of what only a GPU can do."""
    return Figure(part, name, NEEDS_GPU)


def read_figures(file: Path) -> list[Figure]:
    """Return the figures of a file that has one in each line; none if there is no file."""
    return [Figure(*json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def markdown(figures: Iterable[Figure], note: str) -> str:
    """Return the report, as docs/performance.md takes it."""
    lines = [note, "", "| part | figure | value | goal | met |", "|---|---|---:|---|---|"]
    for figure in figures:
        met = {True: "yes", False: "no", None: ""}[figure.ok]
        cells = (figure.part, figure.name, figure.text, figure.goal, met)
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
