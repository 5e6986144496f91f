"""Trainings by command that must be equal to the last bit, resume exactly, or end with one line."""

from __future__ import annotations

from collections.abc import Iterator

import src.training.fit  # noqa: F401  # imported here, so that the commands, which are forked, need not
from tests.faults.accidents import action_at_step
from tests.faults.commands import LoggedCommand, differences, run_folders, start_training
from tests.gpu.figures import Figure, Setting, check, missing

SHORT = ("trainer.accelerator=auto", "trainer.devices=1", "callbacks.resume.every_n_steps=2", "crf=none")
TIMEOUT = 100  # seconds of one training


def check_exactness(setting: Setting) -> Iterator[Figure]:
    """Yield whether trainings are repeated and resumed exactly, by precision, and how accidents end."""
    length = setting.pick((), ("trainer.max_steps=4", "trainer.val_check_interval=2"))
    common = (*SHORT, *length, "trainer.deterministic=true")
    stop_at = setting.pick(11, 3)
    for precision in ("32-true", "bf16-mixed", "16-mixed"):
        if not setting.on_gpu and precision == "16-mixed":
            yield missing("exactness", "16-mixed: with its scaler, equal twice and after a resume")
            continue
        if setting.small and precision == "bf16-mixed":
            continue
        folder = setting.folder / precision
        options = (*common, f"trainer.precision={precision}")
        stop = action_at_step("terminate", stop_at)
        commands = [
            start_training(folder / "whole", *options),
            start_training(folder / "stopped", *options, stop),
            *([] if setting.small else [start_training(folder / "again", *options)]),
        ]
        statuses = [command.wait(TIMEOUT) for command in commands]
        if statuses[0]:
            yield check("exactness", f"{precision}: deterministic training", [last_line(commands[0])])
            continue
        (reference,) = run_folders(folder / "whole")
        if len(commands) > 2:
            same = differences(reference, run_folders(folder / "again"))
            yield check("exactness", f"{precision}: two trainings are equal to the last bit", same)
        resumed = start_training(folder / "stopped", *options, "ckpt=last")
        status = resumed.wait(TIMEOUT)
        lost = [last_line(resumed)] if status else differences(reference, run_folders(folder / "stopped"))
        lost += [] if statuses[1] else ["the training was not stopped"]
        yield check("exactness", f"{precision}: a resumed training is equal to the last bit", lost)

    accidents = {
        "spoil_weights": ("the loss is nan at step",),
        "want_memory": ("out of memory: lower data.batch_size",),
    }
    commands = [
        start_training(setting.folder / what, *common, "trainer.precision=32-true", action_at_step(what, 2))
        for what in accidents
    ]
    for command, (what, parts) in zip(commands, accidents.items(), strict=True):
        status = command.wait(TIMEOUT)
        problems = [] if status == 2 and command.line(*parts) else [f"exit status {status}: {last_line(command)}"]
        name = {"spoil_weights": "a loss that is NaN", "want_memory": "lack of memory"}[what]
        yield check("exactness", f"{name} ends with one line", problems)


def last_line(command: LoggedCommand) -> str:
    """Return the last line that a command has printed."""
    return (command.text.strip().splitlines() or ["no output"])[-1]
