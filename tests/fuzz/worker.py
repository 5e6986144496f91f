"""A warm process that runs commands one after another: python -m tests.fuzz.worker

A line of JSON in, [command, overrides]; a line of JSON out: how it ended. Every command is the one that users start,
from its arguments to its exit status; training stops after its first step. The tests' type checks, which users do not
have, are not on.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import resource
import runpy
import sys
import traceback
import warnings
from typing import Any

MEMORY = 12 << 30  # of addresses: what a slip asks for must not take the machine down


class OneStep:
    """A callback, built late, since Lightning is heavy."""

    def __new__(cls) -> Any:
        from lightning import Callback

        class Stop(Callback):
            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                trainer.should_stop = True
                trainer.fit_loop.epoch_loop.max_steps = trainer.global_step

        return Stop()


def shorten() -> None:
    """The first step of a training is its last one."""
    import src.training.trainer

    build = src.training.trainer.build_trainer

    def short(config: Any, callbacks: Any = (), **options: Any) -> Any:
        return build(config, callbacks=[*callbacks, OneStep()], **options)

    src.training.trainer.build_trainer = short


def run(command: str, overrides: list[str]) -> dict[str, Any]:
    from hydra.core.global_hydra import GlobalHydra

    sys.argv = [command, *overrides]
    os.environ.pop("HYDRA_FULL_ERROR", None)  # which the command before has set for Hydra
    out, error = io.StringIO(), io.StringIO()
    found: dict[str, Any] = {"code": 0, "traceback": ""}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), warnings.catch_warnings():
        try:
            runpy.run_module(f"src.{command}", run_name="__main__")
        except SystemExit as end:
            found["code"] = end.code
        except BaseException:
            found["traceback"] = traceback.format_exc()
        finally:
            GlobalHydra.instance().clear()
            logging.shutdown()
            logging.getLogger().handlers.clear()
    return {**found, "out": out.getvalue(), "error": error.getvalue()}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.environ["WANDB_MODE"] = "offline"
    answers = os.fdopen(os.dup(1), "w")  # nothing that a command prints, from C either, gets among them
    os.dup2(2, 1)
    shorten()
    for line in sys.stdin:
        command, overrides = json.loads(line)
        answers.write(json.dumps(run(command, overrides)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
