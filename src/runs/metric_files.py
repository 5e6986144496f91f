"""Write a run's metrics and tables as JSON and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

from src.system.errors import printable
from src.system.files import replacing, write_text


def write_json(path: Path, metrics: Mapping[str, float]) -> None:
    """Write metrics by name; NaN becomes null, since JSON has no NaN."""
    finite = {name: None if isnan(value) else value for name, value in metrics.items()}
    write_text(path, json.dumps(finite, indent=2) + "\n")


def write_csv(path: Path, columns: Mapping[str, Iterable[Any]]) -> None:
    """Write columns by title; NaN becomes an empty cell, and unprintable characters in strings are escaped."""
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(map(as_cell, row))


def as_cell(value: Any) -> Any:
    """Return a value as written to the CSV file."""
    if isinstance(value, str):
        return printable(value)
    return "" if isinstance(value, float) and isnan(value) else value
