"""A CSV logger that keeps all written rows if the run is killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only

from src.system.files import replacing


class SafeCSVLogger(CSVLogger):
    """Lightning's CSV logger, made safe against kills.

    When there is a new column, Lightning empties metrics.csv and writes it again. This logger rewrites a copy, which
    then replaces the file.
    """

    @rank_zero_only
    def save(self) -> None:
        """Write the rows logged since the last call."""
        writer, columns = self.experiment, set(self.experiment.metrics_keys)
        file = writer.metrics_file_path
        if not os.path.exists(file) or all(columns.issuperset(row) for row in writer.metrics):
            super().save()
            return
        try:
            with replacing(Path(file)) as part:
                writer.metrics_file_path = shutil.copyfile(file, str(part))
                super().save()
        finally:
            writer.metrics_file_path = file


def set_curve_aside(curve: Path) -> None:
    """Rename the metrics file of a run that resumes in its own folder, because Lightning's logger starts a new one."""
    if curve.is_file():
        number = len(list(curve.parent.glob("metrics_before_*.csv"))) + 1
        curve.rename(curve.with_name(f"metrics_before_{number}.csv"))
