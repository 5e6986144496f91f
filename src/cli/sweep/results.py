"""Summarise a multirun in a table and results.csv."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.cli.sweep.jobs import RECORD, Sweep, read_record
from src.runs.metric_names import METHODS, column_name, metric_name
from src.system.counted import counted
from src.system.files import replacing


@contextmanager
def summarise_multirun() -> Iterator[None]:
    """Print and write the results of a multirun after the block, even on an error; exit with 1 if a job is not done."""
    try:
        yield
    finally:
        rows = collect_results(Sweep.folder) if Sweep.folder and Sweep.folder.is_dir() else []
        if rows and Sweep.folder:
            write_results(Sweep.folder / "results.csv", rows)
            print_sweep(Sweep.folder, rows)
    if any(row["status"] != "done" for row in rows):
        sys.exit(1)


def collect_results(folder: Path) -> list[dict[str, Any]]:
    """Return a row of results for each job, in job order."""
    rows = []
    for job in sorted((path.parent for path in folder.rglob(RECORD)), key=job_order):
        record = read_record(job) or {"status": "unfinished", "overrides": [], "seconds": 0.0, "error": ""}
        metrics = job / "metrics.json"
        figures = json.loads(metrics.read_text()) if record["status"] == "done" and metrics.is_file() else {}
        row = {
            "job": job.relative_to(folder).as_posix(),
            "overrides": " ".join(record["overrides"]),
            "status": record["status"],
        }
        row |= {column_name("miou", method): figures.get(metric_name("miou", method)) for method in METHODS}
        rows.append({**row, "seconds": record["seconds"], "error": record["error"]})
    return rows


def job_order(folder: Path) -> tuple[float, str]:
    """Return a sort key of a job's folder: the number at the start of its name; others come last, by path."""
    number = folder.name.partition("_")[0]
    return int(number) if number.isdecimal() else math.inf, str(folder)


def write_results(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows as CSV."""
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def print_sweep(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Print the distinguishing overrides, status and results of each job."""
    from rich.console import Console  # here, because --help and error messages must not wait for it
    from rich.markup import escape
    from rich.table import Table

    common = set.intersection(*(set(row["overrides"].split()) for row in rows)) if len(rows) > 1 else set()
    table = Table(
        title=f"{sum(row['status'] == 'done' for row in rows)} of {counted(len(rows), 'job')} done",
        title_justify="left",
    )
    table.add_column("job")
    table.add_column("status")
    for heading in ("mean IoU", "+ CRF", "time"):
        table.add_column(heading, justify="right")
    for row in rows:
        distinct = " ".join(part for part in row["overrides"].split() if part not in common)
        mious = [row[column_name("miou", method)] for method in METHODS]
        cells = ("-" if miou is None else f"{100 * miou:.1f}" for miou in mious)
        style = "red" if row["status"] == "failed" else None
        minutes, seconds = divmod(round(row["seconds"]), 60)
        table.add_row(escape(distinct or row["job"]), row["status"], *cells, f"{minutes}:{seconds:02d}", style=style)
    console = Console()
    console.print(table)
    for row in rows:
        if row["status"] == "failed":
            console.print(f"{row['job']}: {row['error']}", style="red", highlight=False, soft_wrap=True, markup=False)
    console.print(f"{folder}/\n  results.csv", highlight=False, soft_wrap=True, markup=False)
    if any(row["status"] != "done" for row in rows):
        console.print(
            f"run the same command with hydra.sweep.dir={folder} to run the jobs that are not done",
            soft_wrap=True,
            markup=False,
        )
