"""Share the trials of a search between processes, through a file that all of them can reach.

Optuna has storages of its own. Those of the Optuna that hydra-optuna-sweeper allows (2.10) are databases, and do not
work with a current SQLAlchemy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from src.system.errors import UserError
from src.system.files import append_line, read_json_lines


class SharedTrial(NamedTuple):
    """A trial that a process has finished: its parameters as they were drawn, and the mean IoU."""

    params: dict[str, float]
    value: float


class SharedStudy:
    """A study in a file of JSON lines: what it is about, then each trial when it begins and when it ends.

    A trial whose process has been killed has no end, and is not counted.

    Args:
        path: of the file; it is made if it does not exist.
        about: what all processes have to agree on.

    Raises:
        UserError: if the file holds another study, or something else.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(path.with_name(f".{path.name}.lock"))
        with self.lock:
            if not path.exists() or path.stat().st_size == 0:
                append_line(path, json.dumps({"about": about}))
            elif read_json_lines(self.path)[:1] != [{"about": json.loads(json.dumps(about))}]:
                raise UserError(
                    f"storage={path}: holds another study (other images, network, CRF, ranges or seed), or something "
                    "else; name another file"
                )

    def begin(self, trials: int) -> tuple[int | None, dict[int, SharedTrial]]:
        """Return the number of a new trial, None if enough are finished, and all finished trials by number.

        Args:
            trials: number of trials after which the search is over.
        """
        with self.lock:
            lines = read_json_lines(self.path)
            finished = {line["number"]: SharedTrial(line["params"], line["value"]) for line in lines if "value" in line}
            if len(finished) >= trials:
                return None, finished
            number = sum("begun" in line for line in lines)
            append_line(self.path, json.dumps({"begun": number}))
        return number, finished

    def finish(self, number: int, trial: SharedTrial) -> None:
        """Record the result of a trial."""
        with self.lock:
            append_line(self.path, json.dumps({"number": number, **trial._asdict()}))
