"""What every command must do with any overrides: give finite metrics, or one line that names the cause."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.commands import run_command

MEMORY = 12 << 30  # bytes of address space, so that a huge value does not exhaust the machine


def limit_and_shorten() -> None:
    """Limit the memory of this process, and end a training after its first step."""
    from lightning import Callback

    import src.training.fit

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    build = src.training.fit.build_trainer

    class Stop(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = True
            trainer.fit_loop.epoch_loop.max_steps = trainer.global_step

    def build_short(config: Any, callbacks: Any = (), **options: Any) -> Any:
        return build(config, callbacks=[*callbacks, Stop()], **options)

    src.training.fit.build_trainer = build_short


def outcome(command: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Run a command; return its exit status, output, errors, and the metrics that it wrote."""
    with TemporaryDirectory() as logs:
        done = run_command(command, *overrides, f"paths.log_dir={logs}", before=limit_and_shorten, timeout=300)
        written = [json.loads(path.read_text()) for path in Path(logs).rglob("metrics.json")]
    return {
        "code": done.returncode, "out": done.stdout, "error": done.stderr, "metrics": written[0] if written else None
    }  # fmt: skip


def check(answer: dict[str, Any], odd: Sequence[str]) -> None:
    """Check that an outcome is acceptable.

    Args:
        odd: the overrides that were drawn; an error must name one of them, by key or by value.
    """
    assert "Traceback" not in answer["error"], f"{odd}\n{answer['error'][-3000:]}"
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
    """Return what an error may name: the key, its last part, its group, the value."""
    key, _, value = override.lstrip("+~").partition("=")
    parts = key.split(".")
    text = value.strip("'\"")
    named = (key, parts[-1], ".".join(parts[:-1]), parts[0], text, repr(text)[1:-1])  # as it is, or escaped
    return [word.lower() for word in named if word]
