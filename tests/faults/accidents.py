"""Faults to inject: callbacks for the config, and functions that run first in a process."""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import os
import resource
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from tests.faults.once import create_marker

ONCE = TemporaryDirectory(prefix="accidents-")  # files that tell which have happened


class ActionAtStep(Callback):
    """Performs an action once, after a step. A resumed run, which replays the override, does not repeat it.

    Args:
        what: name of one of the methods below, or "send SIGNAL", with "to group" or "to worker" behind it.
        step: number of steps before the action.
        once: a file that marks that the action has been performed.
        path: a file or pipe that the action writes to.
    """

    def __init__(self, what: str, step: int, once: str, path: str | None = None) -> None:
        verb, *self.words = what.split()
        self.what = getattr(self, verb)
        self.step, self.once, self.path = step, once, path

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step and create_marker(f"{self.once}.{trainer.global_rank}"):
            self.what(trainer, module)

    def send(self, trainer: Trainer, module: LightningModule) -> None:
        """Send a signal to this process, to all of its group, or to a data worker."""
        number, target = signal.Signals[self.words[0]], self.words[-1]
        if target == "group":
            os.killpg(0, number)
        elif target == "worker":
            loader: Any = trainer.train_dataloader
            os.kill(loader._iterator._workers[0].pid, number)
        else:
            os.kill(os.getpid(), number)

    def kill(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def divide_by_zero(self, *_: Any) -> None:
        _ = 1 / 0

    def terminate(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def kill_data_worker(self, trainer: Trainer, module: LightningModule) -> None:
        loader: Any = trainer.train_dataloader
        os.kill(loader._iterator._workers[0].pid, signal.SIGKILL)

    def want_memory(self, trainer: Trainer, module: LightningModule) -> None:
        torch.empty(2**60, device=module.device)

    def spoil_weights(self, trainer: Trainer, module: LightningModule) -> None:
        for parameter in module.parameters():
            torch.nn.init.constant_(parameter, float("nan"))

    def wait(self, *_: Any) -> None:
        """Signal through a pipe that the step is reached, and wait until the other end closes a second pipe."""
        assert self.path is not None
        with open(self.path + ".there", "w"):
            pass
        with open(self.path) as pipe:
            pipe.read()


class KillLater(Callback):
    """Sends SIGKILL to this process a number of seconds after training began; the file gets the step."""

    def __init__(self, seconds: float, path: str) -> None:
        self.seconds, self.path = seconds, Path(path)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.path.exists():  # a resumed run
            return

        def strike() -> None:
            self.path.write_text(str(trainer.global_step))
            os.kill(os.getpid(), signal.SIGKILL)

        timer = threading.Timer(self.seconds, strike)
        timer.daemon = True
        timer.start()


class TimeTraining(Callback):
    """Writes the duration of training in seconds to a file."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_start(self, *_: Any) -> None:
        self.start = time.monotonic()

    def on_train_end(self, *_: Any) -> None:
        self.path.write_text(str(time.monotonic() - self.start))


class KillInWrite:
    """Sends SIGKILL to this process while it writes a checkpoint.

    Args:
        number: which checkpoint, from 1.
        place: share of its bytes, or the call before which the process is killed: "fsync", "replace 1", "replace 2" or
            "flush_folder". If there is an older file, it is moved by the first replacement.
        path: the file gets the step.
    """

    def __init__(self, number: int, place: float | str, path: Path) -> None:
        self.number, self.place, self.path = number, place, path
        self.written = self.replaced = 0

    def __call__(self) -> None:
        from src.system import files

        self.save, self.fsync, self.replace, self.flush = torch.save, os.fsync, os.replace, files.flush_folder
        torch.save = self.save_and_count
        os.fsync = self.before(self.fsync, "fsync")
        os.replace = self.before(self.replace, "replace")
        files.flush_folder = self.before(self.flush, "flush_folder")

    def save_and_count(self, content: dict[str, Any], file: Any) -> None:
        self.written += 1
        self.replaced = 0
        if self.written == self.number:
            self.path.write_text(str(content["global_step"]))
            if isinstance(self.place, float):
                buffer = io.BytesIO()
                self.save(content, buffer)
                file.write(buffer.getvalue()[: int(self.place * len(buffer.getvalue()))])
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        self.save(content, file)

    def before(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.replaced += name == "replace"
            here = name if name != "replace" else f"replace {self.replaced}"
            # The first of its name needs one renaming only.
            now = here == self.place or (name == "flush_folder" and self.place == "replace 2")
            if self.written == self.number and now:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return call


class SignalInCall:
    """Sends a signal to this process when a function is called for the nth time.

    Args:
        function: "MODULE:NAME" or "MODULE:CLASS.NAME".
        call: which call, from 1.
        kind: the signal.
        group: send it to the whole process group.
        twice: send it twice.
    """

    def __init__(self, function: str, call: int, kind: str, group: bool = False, twice: bool = False) -> None:
        self.function, self.call, self.kind, self.group, self.twice = function, call, kind, group, twice

    def __call__(self) -> None:
        module, _, name = self.function.partition(":")
        *owners, name = name.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        original, calls = getattr(owner, name), itertools.count(1)

        @functools.wraps(original)
        def call(*arguments: Any, **options: Any) -> Any:
            number = next(calls)
            for _ in range(1 + self.twice if number == self.call else 0):
                send = os.killpg if self.group else os.kill
                send(os.getpid(), signal.Signals[self.kind])
            return original(*arguments, **options)

        setattr(owner, name, call)


class SmallFiles:
    """Limits the size of files after some checkpoints, like a full disk; needs no root."""

    def __init__(self, size: int, after: int) -> None:
        self.size, self.after = size, after

    def __call__(self) -> None:
        save, written = torch.save, 0

        def save_and_count(*arguments: Any) -> None:
            nonlocal written
            if written == self.after:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))
            written += 1
            save(*arguments)

        torch.save = save_and_count


def clock_backwards() -> None:
    """Set the clock a year back, and let it run backwards."""
    now, year = time.time, 365 * 24 * 3600
    began = now()
    time.time = lambda: 2 * began - now() - year  # type: ignore[assignment]


def requeue() -> None:
    """Set what SLURM sets when it has requeued a job."""
    os.environ["SLURM_RESTART_COUNT"] = "1"


def action_at_step(what: str, step: int, path: Path | None = None) -> str:
    """Return the override that adds ``ActionAtStep``."""
    settings = f"what:'{what}',step:{step},once:{ONCE.name}/{uuid.uuid4().hex},path:{path or 'null'}"
    return f"+callbacks.accident={{_target_:tests.faults.accidents.ActionAtStep,{settings}}}"
