"""The CSV file of a run stays complete, whatever happens while it is written."""

import csv
from pathlib import Path
from typing import Any, NoReturn

import pytest

from src.runs.csv_logger import SafeCSVLogger


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(stream)]


def test_new_columns_are_added_and_rows_kept(tmp_path: Path) -> None:
    logger = SafeCSVLogger(tmp_path, name="csv", version="")
    for step, metrics in enumerate([{"loss": 2.0}, {"loss": 1.5}, {"miou": 0.5}, {"loss": 1.0, "miou": 0.75}]):
        logger.log_metrics(metrics, step)
        logger.save()
    assert rows(tmp_path / "csv" / "metrics.csv") == [
        {"step": "0", "loss": "2.0"},
        {"step": "1", "loss": "1.5"},
        {"step": "2", "miou": "0.5"},
        {"step": "3", "loss": "1.0", "miou": "0.75"},
    ]
    assert [path.name for path in (tmp_path / "csv").iterdir()] == ["metrics.csv"]


def test_a_kill_while_a_column_is_added_takes_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = SafeCSVLogger(tmp_path, name="csv", version="")
    logger.log_metrics({"loss": 2.0}, 0)
    logger.save()

    def killed(*_: Any) -> NoReturn:
        raise SystemExit

    monkeypatch.setattr(csv.DictWriter, "writerows", killed)  # the file is empty but for its header by then
    logger.log_metrics({"miou": 0.5}, 1)
    with pytest.raises(SystemExit):
        logger.save()
    assert rows(tmp_path / "csv" / "metrics.csv") == [{"step": "0", "loss": "2.0"}]
