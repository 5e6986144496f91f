"""The findings of the doctor, without private data."""

from __future__ import annotations

import os
import re
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

LONGEST = 300  # characters of an error


class Finding(NamedTuple):
    """A line of the page.

    Attributes:
        name: of what was examined.
        found: in a few words.
        remedy: what to do; "" if nothing is wrong.
    """

    name: str
    found: str
    remedy: str = ""


def hide_private(text: str) -> str:
    """Return a text with ~ for the home folder, USER for the user's name in paths, *** for passwords in addresses."""
    text = re.sub(r"(:/{1,2})[^/\s]+@", r"\1***@", text)
    home = os.path.expanduser("~")
    if len(Path(home).parts) > 2:  # not "/", nor "/root"
        text = re.sub(rf"(?<![\w.~-]){re.escape(home)}(?![\w.-])", "~", text)
    for name in user_names():
        text = re.sub(rf"(?<=[/\\]){re.escape(name)}(?![\w.-])", "USER", text)
    return text


def user_names() -> set[str]:
    """Return the names that the system has for the user, without those that say nothing."""
    names = {os.environ.get(variable, "") for variable in ("USER", "LOGNAME", "USERNAME")}
    try:
        import pwd

        names.add(pwd.getpwuid(os.getuid()).pw_name)
    except (ImportError, KeyError, AttributeError):  # Windows, or a container with a user of no name
        pass
    return {name for name in names if len(name) > 1} - {"root", "user", "nobody"}


def reason(error: BaseException) -> str:
    """Return an error in one line; of a long message, whole sentences if possible."""
    text = " ".join(str(error).split())
    if len(text) > LONGEST:
        end = text.rfind(". ", 0, LONGEST)
        text = text[: end + 1] if end > 0 else shorten(text, LONGEST, placeholder=" ...")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def in_bytes(size: float) -> str:
    """Return a number of bytes as a text in GiB, or MiB."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
