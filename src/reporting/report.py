"""Write a page that compares runs with each other and with the paper's tables: python -m src.report runs=GLOB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, ListConfig
from rich.console import Console

from src.reporting.evaluations import add_checkpoint_config, attach_evaluations
from src.reporting.examples import choose_examples
from src.reporting.page import write_page
from src.reporting.runs import find_folders, read_run
from src.reporting.table import build_tables
from src.reporting.text import write_markdown, write_report_csv
from src.system.counted import counted
from src.system.errors import UserError


def report(config: DictConfig) -> Path:
    """Write report.html, table.md and table.csv.

    Returns:
        The path of report.html.

    Raises:
        UserError: if there are no runs with results, or no row has the label of the baseline.
    """
    runs = [run for run in map(read_run, find_run_folders(config.runs)) if run.config.get("command", "") in COMMANDS]
    if not runs:
        raise UserError(f"runs={config.runs}: holds no runs of train or evaluate")
    evaluations = [run for run in map(read_run, find_folders([config.evaluations])) if run.trimap and not run.fault]
    shown, evaluations = attach_evaluations(runs, evaluations)
    tables, left_out = build_tables([add_checkpoint_config(run) for run in shown if not run.fault], config.baseline)
    left_out += [(run, run.fault) for run in shown if run.fault]
    if not any(table.rows for table in tables):
        run, reason = left_out[0]
        raise UserError(f"runs={config.runs}: no run has results ({run.folder}: {reason}); give the folders of runs")
    for table in tables:
        table.attach_trimaps(evaluations)
    examples = [choose_examples(table, config.images, config.candidates) if config.images else None for table in tables]

    folder = Path(config.paths.output_dir)
    write_report_csv(folder / "table.csv", tables, left_out)
    write_markdown(folder / "table.md", tables, left_out)
    write_page(folder / "report.html", tables, examples, left_out)
    console = Console()
    for run, reason in left_out:
        console.print(f"not in the table: {run.folder}: {reason}", highlight=False, soft_wrap=True, markup=False)
    rows = sum(len(table.rows) for table in tables)
    console.print(f"{counted(len(runs), 'run')}, {counted(rows, 'row')}, {len(left_out)} left out", highlight=False)
    console.print(str(folder / "report.html"), highlight=False, soft_wrap=True, markup=False)
    return folder / "report.html"


COMMANDS = ("train", "evaluate", "")  # "" for a run whose config is damaged


def find_run_folders(runs: str | Sequence[str] | None) -> list[Path]:
    """Return the folders of runs that match one or more patterns.

    Raises:
        UserError: if there is no pattern, or one of them matches nothing; it names the pattern.
    """
    if not runs:
        raise UserError("runs=GLOB is needed, such as runs=logs/train or 'runs=logs/train/multiruns/DATE/TIME/*'")
    patterns = list(runs) if isinstance(runs, (list, ListConfig)) else [str(runs)]
    for pattern in patterns:
        if not find_folders([pattern]):
            raise UserError(f"runs={pattern}: finds no folder; put the pattern in quotes, relative to {Path.cwd()}")
    return find_folders(patterns)
