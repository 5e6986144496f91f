"""Options as other programs have them are refused in one line, with the setting that they mean."""

from __future__ import annotations

import pytest

from src.cli.arguments import check_arguments
from src.system.errors import UserError


@pytest.mark.parametrize(
    ("command", "arguments", "line"),
    [
        (
            "train",
            ["--max_steps", "100"],
            "--max_steps: no such option; settings are written KEY=VALUE: trainer.max_ste",
        ),
        ("train", ["seed=1", "--batch-size=4"], "--batch-size: no such option; .* KEY=VALUE: data.batch_size=4$"),
        ("train", ["--epochs", "3"], "--epochs: .*: trainer.max_epochs=3$"),
        ("train", ["--head", "vanilla"], "--head: .*: head=vanilla$"),
        ("train", ["-lr", "--head"], "-lr: .*: optimizer.lr=VALUE$"),
        ("train", ["--optimizer.lr", "0.1"], "--optimizer.lr: .*: optimizer.lr=0.1$"),
        ("predict", ["--ckpt", "best.ckpt"], "--ckpt: .*: ckpt=best.ckpt$"),
        (
            "train",
            ["--monitor", "x"],
            r"--monitor: no such option\. Settings are .*; --help lists them$",
        ),
        ("train", ["--multirn", "seed=0,1"], r"--multirn: no such option\. Did you mean --multirun\? Settings are"),
        ("train", ["--con", "x"], "--con: .*; --help lists them$"),
        ("train", ["--cfg", "jo"], "argument --cfg/-c: invalid choice: 'jo'"),
    ],
)
def test_an_option_that_does_not_exist(command: str, arguments: list[str], line: str) -> None:
    with pytest.raises(UserError, match=f"^{line}"):
        check_arguments(arguments, command)


@pytest.mark.parametrize(
    "arguments", [["-m", "seed=0,1"], ["--cfg", "job", "--resolve"], ["seed=1", "--info", "all"], []]
)
def test_options_of_hydra_stay(arguments: list[str]) -> None:
    check_arguments(arguments, "train")
