"""The ablation table: a row for each configuration, with its seeds and the paper's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from statistics import fmean, stdev
from typing import Any

from src.reporting.evaluations import evaluated_folder
from src.reporting.paper import PAPER, PaperRow, head_name
from src.reporting.runs import Curve, Run
from src.runs.metric_names import CRF, NETWORK, Method, metric_name
from src.system.errors import UserError

LOCATION_KEYS = ("dataset.root", "dataset.cache", "dataset.on_error")  # they do not decide which data it is


@dataclass
class Row:
    """Runs whose configs differ in the seed only.

    Attributes:
        label: the head, and the settings that distinguish the row from others.
        head: name of the head in conf/head.
        trimap: trimap curves of an evaluation of one of the runs' checkpoints.
        trimap_of: folder of that evaluation.
    """

    runs: list[Run]
    label: str = ""
    head: str = ""
    trimap: Mapping[str, Curve] = field(default_factory=dict)
    trimap_of: str = ""

    @property
    def paper(self) -> PaperRow | None:
        """The paper's row for this head; None if it has none."""
        return PAPER.get(self.head)

    @property
    def seeds(self) -> list[Any]:
        """The seeds of the runs."""
        return [run.config.get("seed") for run in self.runs if "seed" in run.config]

    def values(self, metric: str, method: Method = NETWORK, class_: str | None = None) -> list[float]:
        """Return a metric (miou, iou of a class, ...) in %, for each run that has it."""
        values = (
            run.metrics.get(metric_name(metric, method, run.config.get("split", "val"), class_), nan)
            for run in self.runs
        )
        return [100 * value for value in values if not isnan(value)]

    def mean(self, metric: str, method: Method = NETWORK, class_: str | None = None) -> float:
        """Return the mean of a metric over runs in %; NaN if no run has it."""
        return fmean(values) if (values := self.values(metric, method, class_)) else nan

    def spread(self, metric: str, method: Method = NETWORK) -> float:
        """Return the sample standard deviation over seeds in %; NaN for fewer than two."""
        return stdev(values) if len(values := self.values(metric, method)) > 1 else nan

    @property
    def crf_gain(self) -> float:
        """The difference in mean IoU that the CRF makes, in percentage points."""
        return self.mean("miou", CRF) - self.mean("miou")


@dataclass
class Table:
    """Rows on the same data, which may be compared, in the paper's order and then by label.

    Attributes:
        data: name of the data set.
        differences: the settings that differ, by dotted key, with the value in every row.
    """

    data: str
    rows: list[Row]
    baseline: Row
    classes: list[str]
    differences: dict[str, list[Any]]

    def delta(self, row: Row, metric: str, method: Method = NETWORK) -> float:
        """Return the difference of a metric between a row and the baseline, in percentage points."""
        return row.mean(metric, method) - self.baseline.mean(metric, method)

    def paper_delta(self, row: Row, column: str) -> float:
        """Return the paper's difference between a row and the baseline; NaN if it has none."""
        ours, base = (getattr(r.paper, column, None) for r in (row, self.baseline))
        return nan if ours is None or base is None else ours - base

    def attach_trimaps(self, evaluations: Sequence[Run]) -> None:
        """Give each row the trimap curves of its latest evaluation; a row that is an evaluation has its own."""
        for row in self.rows:
            folders = [run.folder.resolve() for run in row.runs]
            candidates = [r for r in (*evaluations, *row.runs) if r in row.runs or evaluated_folder(r) in folders]
            for run in (run for run in candidates if "miou" in run.trimap):
                row.trimap, row.trimap_of = run.trimap, str(run.folder)

    def order(self) -> tuple[int, list[tuple[Row, Row]]]:
        """Return how many pairs of heads the paper orders too (with CRF), and the pairs that are reversed here.

        In each reversed pair, the head that is better here comes first.
        """
        published = [(row, row.paper.val_crf) for row in self.rows if row.paper and row.paper.val_crf is not None]
        ordered = [
            (a, b, a.mean("miou", CRF) - b.mean("miou", CRF)) for a, pa in published for b, pb in published if pa < pb
        ]
        pairs = [(a, b, ahead) for a, b, ahead in ordered if not isnan(ahead)]
        return len(pairs), [(a, b) for a, b, ahead in pairs if ahead > 0]


def build_tables(runs: Sequence[Run], baseline: str | None = None) -> tuple[list[Table], list[tuple[Run, str]]]:
    """Return a table for each data set, and the runs that are in none with the reason.

    Args:
        runs: finished runs, oldest first.
        baseline: label of the row that differences refer to; None for vanilla, or the first row.

    Raises:
        UserError: if no table has the baseline.
    """
    repeated: list[tuple[Run, str]] = []
    by_data: dict[str, dict[str, Row]] = {}
    for run in runs:
        row = by_data.setdefault(data_key(run), {}).setdefault(settings_key(run.settings), Row([]))
        for same in [r for r in row.runs if r.config.get("seed") == run.config.get("seed")]:
            row.runs.remove(same)
            repeated.append((same, f"the same config and seed ran again in {run.folder}"))
        row.runs.append(run)
    tables = [table(list(rows.values()), baseline) for rows in by_data.values()]
    if baseline and tables and not any(t.baseline.label == baseline for t in tables):
        labels = ", ".join(row.label for t in tables for row in t.rows)
        raise UserError(f"baseline={baseline}: no such row; the rows are {labels}")
    return tables, repeated


def table(rows: list[Row], baseline: str | None) -> Table:
    """Return the table of rows on the same data, sorted and labelled."""
    for row in rows:
        row.head = head_name(row.runs[0].part("head"))
        row.runs.sort(key=lambda run: str(run.config.get("seed")).zfill(9))
    order = [*PAPER, "largefov_r4"]
    rows.sort(key=lambda row: order.index(row.head) if row.head in order else len(order))
    differences = find_differences(rows)
    label_rows(rows, differences)
    base = next((row for row in rows if row.label == baseline), None)
    base = base or next((row for row in rows if row.head == "vanilla"), rows[0])
    prefix = metric_name("iou", split=rows[0].runs[0].config.get("split", "val"), class_="")
    classes = [key.removeprefix(prefix) for key in rows[0].runs[0].metrics if key.startswith(prefix)]
    target = rows[0].runs[0].part("dataset").get("_target_", "unknown data")
    return Table(str(target).rpartition(".")[2], rows, base, classes, differences)


def find_differences(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return the settings that differ between rows, by dotted key, with the value in every row."""
    settings = [row.runs[0].settings for row in rows]
    keys = dict.fromkeys(key for row_settings in settings for key in row_settings)
    columns = {key: [row_settings.get(key, "") for row_settings in settings] for key in keys}
    return {key: values for key, values in columns.items() if len(set(map(repr, values))) > 1}


def label_rows(rows: Sequence[Row], differences: Mapping[str, list[Any]]) -> None:
    """Label rows by their head; rows of the same head also by the settings that differ, up to three of them."""
    for row in rows:
        peers = [i for i, other in enumerate(rows) if other.head == row.head]
        varying = [k for k, v in differences.items() if len({repr(v[i]) for i in peers}) > 1]
        index = rows.index(row)
        extra = [f"{k} {differences[k][index]}" for k in varying] if len(varying) <= 3 else []
        number = [f"no. {peers.index(index) + 1}"] if len(varying) > 3 else []
        row.label = ", ".join([row.head, *extra, *number])


def data_key(run: Run) -> str:
    """Return a key that is equal for runs on the same data and split."""
    chosen = {k: v for k, v in run.settings.items() if k.startswith("dataset.") and k not in LOCATION_KEYS}
    return settings_key({**chosen, "split": run.config.get("split", "val")})


def settings_key(settings: Mapping[str, Any]) -> str:
    """Return a key that is equal for equal settings."""
    return repr(sorted(settings.items(), key=lambda item: item[0]))
