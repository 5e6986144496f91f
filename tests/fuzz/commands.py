"""What every command must make of any overrides: finite figures, or one line that names the cause."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import REPO

LIMIT = 300  # seconds; the machine may be busy


class Worker:
    """The process of tests.fuzz.worker, started again where a command took it down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, command: str, overrides: Sequence[str]) -> dict[str, Any]:
        """Exit code, traceback, out, error, and the figures that it wrote."""
        if self.process is None or self.process.poll() is not None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            start = [sys.executable, "-m", "tests.fuzz.worker"]
            self.process = subprocess.Popen(
                start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=REPO,
                env=environment,
            )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.count += 1
        logs = self.folder / str(self.count)
        self.process.stdin.write(json.dumps([command, [*overrides, f"paths.log_dir={logs}"]]).encode() + b"\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], LIMIT)[0], f"{command} hangs: {overrides}"
        line = self.process.stdout.readline()
        assert line, f"{command} took the process down ({self.process.wait()}): {overrides}"
        written = [json.loads(path.read_text()) for path in logs.rglob("metrics.json")]
        return {**json.loads(line), "metrics": written[0] if written else None}

    def close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait(LIMIT)


def check(answer: dict[str, Any], odd: Sequence[str]) -> None:
    """An outcome that a user can live with.

    Args:
        odd: the overrides that are not the test's own; a refusal names one of them, by key or by value.
    """
    assert not answer["traceback"], f"{odd}\n{answer['traceback'][-3000:]}"
    assert answer["code"] in (0, 2), (odd, answer["code"], answer["error"])
    if answer["code"] == 2:
        lines = [line for line in answer["error"].splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, (odd, answer["error"])
        assert answer["error"].strip().endswith(lines[0]), (odd, answer["error"])
        assert any(word in lines[0].lower() for override in odd for word in words(override)), (odd, lines[0])
    elif answer["metrics"] is not None:
        assert answer["metrics"].get("val/miou", 0) is not None, odd
    assert not re.search(r"\bnan\b", answer["out"]), (odd, answer["out"])


def words(override: str) -> list[str]:
    """What an error may name: the key, its last part, its group, the value."""
    key, _, value = override.lstrip("+~").partition("=")
    parts = key.split(".")
    text = value.strip("'\"")
    named = (key, parts[-1], ".".join(parts[:-1]), parts[0], text, repr(text)[1:-1])  # as it is, or escaped
    return [word.lower() for word in named if word]
