"""A run's figures on disk: metrics.json and tables in CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

from src.system.files import replacing, write_text


def write_json(path: Path, figures: Mapping[str, float]) -> None:
    """Figures by name; JSON knows no nan, so what is absent is null."""
    finite = {name: None if isnan(value) else value for name, value in figures.items()}
    write_text(path, json.dumps(finite, indent=2) + "\n")


def write_csv(path: Path, columns: Mapping[str, Iterable[Any]]) -> None:
    """Columns by title; nan is an empty cell."""
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow("" if isinstance(cell, float) and isnan(cell) else cell for cell in row)
