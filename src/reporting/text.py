"""Write the table as CSV and Markdown."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

from src.drawing.html import number
from src.reporting.runs import Run
from src.reporting.table import Row, Table
from src.runs.metric_names import CRF
from src.system.files import replacing, write_text

LeftOut = Sequence[tuple[Run, str]]

NOTE = (
    "Mean IoU in %, of the checkpoint that was best on the validation set. ± is the sample standard deviation over "
    "seeds. Δ: difference to the row *{baseline}*. The paper's numbers are of PASCAL VOC 2012 val with a network from "
    "ImageNet: on other data, compare the order and the differences, not the levels."
)


def row_values(table: Table, row: Row) -> dict[str, Any]:
    """Return one row of the CSV, in % and percentage points; NaN for values that do not exist."""
    paper = row.paper
    return {
        "data": table.data,
        "row": row.label,
        "seeds": " ".join(map(str, row.seeds)),
        "runs": len(row.runs),
        "miou": row.mean("miou"),
        "miou_std": row.spread("miou"),
        "miou_crf": row.mean("miou", CRF),
        "miou_crf_std": row.spread("miou", CRF),
        "crf_gain": row.crf_gain,
        "delta_miou": table.delta(row, "miou"),
        "delta_miou_crf": table.delta(row, "miou", CRF),
        "baseline": table.baseline.label,
        "paper_name": paper.name if paper else "",
        "paper_miou": paper.val if paper else None,
        "paper_miou_crf": paper.val_crf if paper else None,
        "paper_test_crf": paper.test_crf if paper else None,
        "paper_delta_miou": table.paper_delta(row, "val"),
        "paper_delta_miou_crf": table.paper_delta(row, "val_crf"),
        "paper_source": f"arXiv 1412.7062v4, {paper.source}" if paper else "",
        "status": "finished",
        "folder": " ".join(str(run.folder) for run in row.runs),
    }


def write_report_csv(path: Path, tables: Sequence[Table], left_out: LeftOut) -> None:
    """Write all rows, followed by the runs that are in none, with the reason as their status."""
    rows = [row_values(table, row) for table in tables for row in table.rows]
    rows += [{"status": reason, "folder": str(run.folder), "runs": 1} for run, reason in left_out]
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: to_cell(v) for k, v in row.items()})


def to_cell(value: Any) -> Any:
    """Return a value as it is written to the CSV; empty if it does not exist."""
    if isinstance(value, float):
        return "" if isnan(value) else round(value, 6)
    return "" if value is None else value


def write_markdown(path: Path, tables: Sequence[Table], left_out: LeftOut) -> None:
    """Write a Markdown table for each data set, followed by the runs that are in none."""
    lines: list[str] = []
    head = "| | seeds | mIoU | + CRF | CRF gain | Δ mIoU | Δ + CRF | paper | paper + CRF | paper Δ + CRF | source |"
    for table in tables:
        lines += [f"## {table.data}", "", head, "|---|" + "---|" * 10]
        for row in table.rows:
            f = row_values(table, row)
            cells = [
                row.label,
                f["seeds"],
                with_spread(f["miou"], f["miou_std"]),
                with_spread(f["miou_crf"], f["miou_crf_std"]),
                *(number(f[key], "+.1f") for key in ("crf_gain", "delta_miou", "delta_miou_crf")),
                *(number(f[key], ".2f") for key in ("paper_miou", "paper_miou_crf")),
                number(f["paper_delta_miou_crf"], "+.2f"),
                row.paper.source if row.paper else "not in the paper",
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines += ["", NOTE.format(baseline=table.baseline.label), ""]
    if left_out:
        lines += ["Not in the table:", "", *(f"- `{run.folder}`: {reason}" for run, reason in left_out), ""]
    write_text(path, "\n".join(lines))


def with_spread(mean: float, spread: float) -> str:
    """Format a mean with its standard deviation, if there is one."""
    return number(mean) if isnan(spread) else f"{number(mean)} ± {number(spread)}"
