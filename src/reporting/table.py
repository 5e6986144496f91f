"""The ablation table: one row for each configuration, its seeds together, beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from statistics import fmean, stdev
from typing import Any

from src.errors import UserError
from src.reporting.evaluations import evaluated
from src.reporting.paper import PAPER, PaperRow, head_name
from src.reporting.runs import Curve, Run
from src.runs.figures import CRF, NETWORK, Method, figure_name

WHERE = ("dataset.root", "dataset.cache", "dataset.on_error")  # of the data; not which


@dataclass
class Row:
    """Runs whose configs differ only in the seed.

    Attributes:
        label: the head, and what else sets the row apart from the others.
        head: its name in conf/head.
        trimap: of an evaluation of one of the runs' checkpoints, and its folder.
    """

    runs: list[Run]
    label: str = ""
    head: str = ""
    trimap: Mapping[str, Curve] = field(default_factory=dict)
    trimap_of: str = ""

    @property
    def paper(self) -> PaperRow | None:
        return PAPER.get(self.head)

    @property
    def seeds(self) -> list[Any]:
        return [run.config.get("seed") for run in self.runs if "seed" in run.config]

    def values(self, figure: str, method: Method = NETWORK, class_: str | None = None) -> list[float]:
        """Return a figure (miou, iou of a class, ...) in %, one for each run that has it."""
        values = (
            run.metrics.get(figure_name(figure, method, run.config.get("split", "val"), class_), nan)
            for run in self.runs
        )
        return [100 * value for value in values if not isnan(value)]

    def mean(self, figure: str, method: Method = NETWORK, class_: str | None = None) -> float:
        """Return the mean over runs in %; nan where no run has the figure."""
        return fmean(values) if (values := self.values(figure, method, class_)) else nan

    def spread(self, figure: str, method: Method = NETWORK) -> float:
        """Return the sample standard deviation over seeds; nan for fewer than two."""
        return stdev(values) if len(values := self.values(figure, method)) > 1 else nan

    @property
    def crf_gain(self) -> float:
        return self.mean("miou", CRF) - self.mean("miou")


@dataclass
class Table:
    """Rows on the same data, which may be compared, in the paper's order and then by label."""

    data: str
    rows: list[Row]
    baseline: Row
    classes: list[str]
    differences: dict[str, list[Any]]  # dotted key -> its value in every row; keys that vary

    def delta(self, row: Row, figure: str, method: Method = NETWORK) -> float:
        return row.mean(figure, method) - self.baseline.mean(figure, method)

    def paper_delta(self, row: Row, column: str) -> float:
        """What the paper gives for the same step; nan where it gives none."""
        ours, base = (getattr(r.paper, column, None) for r in (row, self.baseline))
        return nan if ours is None or base is None else ours - base

    def take_trimaps(self, evaluations: Sequence[Run]) -> None:
        """The latest evaluation of each row that has void pixels; an evaluation that is a row has its own."""
        for row in self.rows:
            folders = [run.folder.resolve() for run in row.runs]
            own = [run for run in (*evaluations, *row.runs) if run in row.runs or evaluated(run) in folders]
            for run in (run for run in own if "miou" in run.trimap):
                row.trimap, row.trimap_of = run.trimap, str(run.folder)

    def order(self) -> tuple[int, list[tuple[Row, Row]]]:
        """How many pairs the paper orders too (with CRF), and those it has the other way, better first here."""
        known = [(row, row.paper.val_crf) for row in self.rows if row.paper and row.paper.val_crf is not None]
        ordered = [(a, b, a.mean("miou", CRF) - b.mean("miou", CRF)) for a, pa in known for b, pb in known if pa < pb]
        pairs = [(a, b, ahead) for a, b, ahead in ordered if not isnan(ahead)]
        return len(pairs), [(a, b) for a, b, ahead in pairs if ahead > 0]


def build_tables(runs: Sequence[Run], baseline: str | None = None) -> tuple[list[Table], list[tuple[Run, str]]]:
    """Tables by data set, and what was left out of them, each with its reason.

    Args:
        runs: finished ones, oldest first.
        baseline: label of the row that deltas refer to; None for vanilla, or else the first row.

    Raises:
        UserError: if no table has the baseline.
    """
    repeated: list[tuple[Run, str]] = []
    by_data: dict[str, dict[str, Row]] = {}
    for run in runs:
        row = by_data.setdefault(data_key(run), {}).setdefault(key_of(run.settings), Row([]))
        for same in [r for r in row.runs if r.config.get("seed") == run.config.get("seed")]:
            row.runs.remove(same)
            repeated.append((same, f"the same config and seed ran again in {run.folder}"))
        row.runs.append(run)
    tables = [table(list(rows.values()), baseline) for rows in by_data.values()]
    if baseline and tables and not any(t.baseline.label == baseline for t in tables):
        labels = ", ".join(row.label for t in tables for row in t.rows)
        raise UserError(f"baseline={baseline}: no such row; there is {labels}")
    return tables, repeated


def table(rows: list[Row], baseline: str | None) -> Table:
    for row in rows:
        row.head = head_name(row.runs[0].part("head"))
        row.runs.sort(key=lambda run: str(run.config.get("seed")).zfill(9))
    order = [*PAPER, "largefov_r4"]
    rows.sort(key=lambda row: order.index(row.head) if row.head in order else len(order))
    differences = differing(rows)
    name_rows(rows, differences)
    base = next((row for row in rows if row.label == baseline), None)
    base = base or next((row for row in rows if row.head == "vanilla"), rows[0])
    prefix = figure_name("iou", split=rows[0].runs[0].config.get("split", "val"), class_="")
    classes = [key.removeprefix(prefix) for key in rows[0].runs[0].metrics if key.startswith(prefix)]
    target = rows[0].runs[0].part("dataset").get("_target_", "unknown data")
    return Table(str(target).rpartition(".")[2], rows, base, classes, differences)


def differing(rows: Sequence[Row]) -> dict[str, list[Any]]:
    settings = [row.runs[0].settings for row in rows]
    keys = dict.fromkeys(key for one in settings for key in one)
    columns = {key: [one.get(key, "") for one in settings] for key in keys}
    return {key: values for key, values in columns.items() if len(set(map(repr, values))) > 1}


def name_rows(rows: Sequence[Row], differences: Mapping[str, list[Any]]) -> None:
    """A head by its name; rows of the same head by what differs between them, as long as that is short."""
    for row in rows:
        peers = [i for i, other in enumerate(rows) if other.head == row.head]
        varying = [k for k, v in differences.items() if len({repr(v[i]) for i in peers}) > 1]
        own = rows.index(row)
        extra = [f"{k} {differences[k][own]}" for k in varying] if len(varying) <= 3 else []
        number = [f"no. {peers.index(own) + 1}"] if len(varying) > 3 else []
        row.label = ", ".join([row.head, *extra, *number])


def data_key(run: Run) -> str:
    chosen = {k: v for k, v in run.settings.items() if k.startswith("dataset.") and k not in WHERE}
    return key_of({**chosen, "split": run.config.get("split", "val")})


def key_of(settings: Mapping[str, Any]) -> str:
    return repr(sorted(settings.items(), key=lambda item: item[0]))
