"""Refuse options that do not exist, in one line: the user of another program may write --max_steps 100."""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from src.cli.help_page import groups
from src.cli.messages.overrides import composed_defaults, keys_of, nested_keys
from src.system.errors import UserError


def check_options(arguments: Sequence[str], name: str) -> None:
    """Check that all options are Hydra's; its own parser would print its usage in eight lines.

    Args:
        arguments: the arguments of the command.
        name: name of the command.

    Raises:
        UserError: with the option, and the setting that it most likely means.
    """
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
        raise UserError(
            f"{option}: no such option; settings are written KEY=VALUE{suggest_setting(option, value, name)}"
        )


def suggest_setting(option: str, value: str, name: str) -> str:
    """Return ": KEY=VALUE" with the only key that an option may mean; a hint to --help if there are none or several."""
    key = option.lstrip("-").replace("-", "_")
    defaults = composed_defaults(name, [])
    known = {*keys_of(defaults, ""), *groups(name)}
    is_known = key in known or ("." in key and key.rpartition(".")[2] in keys_of(defaults, key.rpartition(".")[0]))
    keys = [key] if is_known else nested_keys(key, defaults)
    return f": {keys[0]}={value or 'VALUE'}" if len(keys) == 1 else "; --help lists them"
