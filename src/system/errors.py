"""Errors that the user can correct."""

import re
from collections.abc import Mapping


class UserError(Exception):
    """Raised for a wrong value, file or folder. The message gives the remedy; commands print it without a traceback.

    Attributes:
        part: key of the part of a config whose arguments the message names, such as "dataset" for "root=/x: no images";
            the command line prints "dataset.root=/x: no images". "" if the message names keys, or none.
    """

    part = ""


def unwrapped(error: BaseException, wrapper: type[BaseException]) -> BaseException:
    """Return the error inside errors of a type that only wraps others, such as Hydra's ``InstantiationException``."""
    while isinstance(error, wrapper) and error.__cause__ is not None:
        error = error.__cause__
    return error


def name_settings(message: str, keys: Mapping[str, str]) -> str:
    """Return a message with command-line keys instead of arguments: "kernel=0" becomes "head.kernel=0".

    Args:
        message: the message.
        keys: the key of each argument. An argument is recognised as NAME= or NAME.ENTRY=.
    """
    names = "|".join(map(re.escape, keys))
    if not names:
        return message
    return re.sub(rf"(?<![\w./\\-])({names})(?=(\.\w+)*=)", lambda match: keys[match[1]], message)


def printable(text: str) -> str:
    """Return a string that prints in one line: line breaks, control characters and undecodable bytes are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def one_line(text: str) -> str:
    """Return a message in one line: the last line of a worker's traceback, otherwise all lines joined."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if "Original Traceback" in text:
        return lines[-1].partition(": ")[2] or lines[-1]
    return "; ".join(lines)
