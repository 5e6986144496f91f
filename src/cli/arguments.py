"""Arrange the arguments of a command so that Hydra can parse them, and refuse those that are not settings."""

from __future__ import annotations

import os
import re
from argparse import ArgumentError
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from src.cli.messages.unknown_key import suggest_setting
from src.cli.overrides import key_of
from src.system.errors import UserError
from src.system.suggestions import did_you_mean


def arrange_arguments(arguments: Sequence[str]) -> list[str]:
    """Return arguments in a form that Hydra can parse: -m before the overrides, ~ replaced with the home folder."""
    multirun = [argument for argument in arguments if argument in ("-m", "--multirun")]
    others = [argument for argument in arguments if argument not in multirun]
    home = os.path.expanduser("~")
    if re.fullmatch(r"[\w./-]+", home):
        # at the start of a value or of a list entry
        others = [re.sub(r"(?<=[=\[,])~(?=[/,\]]|$)", home, argument) for argument in others]
    return [*multirun[:1], *others]


def check_arguments(arguments: Sequence[str], command: str) -> None:
    """Check that no override sets the key ``command``, and that all options are Hydra's.

    Hydra's own parser would print its usage in eight lines. Users of other programs may write --max_steps 100.

    Args:
        arguments: the arguments of the command, as ``arrange_arguments`` returns them.
        command: name of the command.

    Raises:
        UserError: with the override, or with the option and the setting that it most likely means.
    """
    if forbidden := next((argument for argument in arguments if key_of(argument).partition(".")[0] == "command"), None):
        raise UserError(f"{forbidden}: this key names the command and cannot be set")
    parser = get_args_parser()
    parser.exit_on_error = False
    parser.allow_abbrev = False  # abbreviations may be ambiguous, which the parser would not leave to us
    try:
        unknown = parser.parse_known_args(arguments)[1]
    except ArgumentError as error:
        raise UserError(f"{error}; --help lists the settings, which are written KEY=VALUE") from error
    if unknown:
        option, _, value = unknown[0].partition("=")
        after = arguments[arguments.index(unknown[0]) + 1 :]
        if not value and after and not after[0].startswith("-") and "=" not in after[0]:
            value = after[0]
        options = [name[2:] for name in parser._option_string_actions if name.startswith("--")]
        if setting := suggest_setting(option, value, command):
            raise UserError(f"{option}: no such option; settings are written KEY=VALUE: {setting}")
        hint = did_you_mean(option.lstrip("-"), options).replace("mean ", "mean --")
        raise UserError(f"{option}: no such option.{hint} Settings are written KEY=VALUE; --help lists them")
