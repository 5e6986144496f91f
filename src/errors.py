"""Errors that the user can correct."""

import re
from collections.abc import Mapping


class UserError(Exception):
    """A wrong value, file or folder. The message names it and the remedy; commands print no traceback."""


def name_settings(message: str, keys: Mapping[str, str]) -> str:
    """Return a message with keys of the command line in place of arguments: "kernel=0" becomes "head.kernel=0".

    Args:
        keys: by argument. An argument is recognised as NAME= or NAME.ENTRY=.
    """
    names = "|".join(map(re.escape, keys))
    if not names:
        return message
    return re.sub(rf"(?<![\w./\\-])({names})(?=(\.\w+)*=)", lambda match: keys[match[1]], message)


def printable(text: str) -> str:
    """Return a text for one line: line ends, control characters and bytes of no encoding are written as escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
