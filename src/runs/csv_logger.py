"""Lightning's CSV logger, of which no kill takes what it has written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only

from src.system.files import replacing


class SafeCSVLogger(CSVLogger):
    """Rows are appended, as Lightning does it. Where a new column asks for another header, Lightning empties
    metrics.csv and writes it again; here that is done to a copy, which then takes the file's place."""

    @rank_zero_only
    def save(self) -> None:
        writer, known = self.experiment, set(self.experiment.metrics_keys)
        file = writer.metrics_file_path
        if not os.path.exists(file) or all(known.issuperset(row) for row in writer.metrics):
            super().save()
            return
        try:
            with replacing(Path(file)) as part:
                writer.metrics_file_path = shutil.copyfile(file, str(part))
                super().save()
        finally:
            writer.metrics_file_path = file
