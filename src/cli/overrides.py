"""Read overrides of the command line, and write values as in overrides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from src.cli.conf_groups import choices, is_group


def key_of(override: str) -> str:
    """Return the key that an override sets: "+head.rate=4" -> "head.rate"."""
    return override.split("=")[0].lstrip("+~")


def as_written(value: Any) -> str:
    """Return a value as written on the command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return "''" if value == "" else str(value)


def listed_choices(override: str) -> list[str]:
    """Return the choices in a list: callbacks=[ema,swa] gives ema and swa; an empty list if the value is no list."""
    value = override.partition("=")[2]
    return re.sub(r"[\[\]'\"\s]", "", value).split(",") if value.startswith("[") else []


def valid_choices(overrides: Iterable[str]) -> Iterator[str]:
    """Yield the overrides that select an existing choice of a group, or remove a group.

    A list of choices is kept (logger=[csv,wandb]); for a sweep, its first choice is yielded (head=msc,vanilla:
    head=msc).
    """
    for override in overrides:
        key, _, value = override.partition("=")
        if is_group(key_of(override)):
            names = re.sub(r"^choice\(|[\[\])'\"\s]", "", value).split(",")
            if override.startswith("~"):
                yield override
            elif set(names) <= {*choices(key_of(override)), *(("",) if value == "[]" else ())}:
                yield override if value.startswith("[") else f"{key}={names[0]}"
