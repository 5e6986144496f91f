"""Replace argument names in error messages with command-line keys: "kernel=0" -> "head.kernel=0".

A component knows its arguments but not the config it was built from. The error tells which part of the config it is
about: ``instantiate`` puts the key of what it could not build into its message, and a ``UserError`` has a ``part``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.cli.references import key_to_set
from src.system.dotted_keys import select
from src.system.errors import UserError, name_settings

FULL_KEY = re.compile(r"full_key: (\S+)")  # in Hydra's and OmegaConf's messages
WRONG_CALL = re.compile(r"(?:\w+\.)*?(\w+)(?:\.__init__)?\(\) (?:got|missing|takes)")  # Python's message; the function


def name_keys(message: str, error: BaseException, config: DictConfig) -> tuple[str, str]:
    """Return the message with keys instead of arguments, and the key of the part of the config that it is about.

    "KEY=None:" becomes "KEY=null:", as on the command line. The key is "" if the error is about no part.
    """
    content: Any = OmegaConf.to_container(config)  # unresolved: each node then has only the key that sets it
    part = failed_part(error, content)
    arguments = list(arguments_of(content, part))
    if call := WRONG_CALL.match(message):  # of an object in the part, if another object built it
        part = next((key for _, key in arguments if builds(select(content, key), call[1])), part)

    def has_other_value(argument: tuple[str, str]) -> bool:
        name, key = argument
        return not re.search(rf"\b{re.escape(f'{name}={select(content, key)}')}(?!\.?\w)", message)

    own = [(str(key), str(key)) for key in content]  # a command has keys of its own with such names
    keys: dict[str, str] = {}
    for name, key in sorted([*arguments, *own], key=has_other_value):  # of several keys, the one with this value
        keys.setdefault(name, key)
    return re.sub(r"(?<==)None(?=:)", "null", name_settings(message, keys)), part


def failed_part(error: BaseException, content: Any) -> str:
    """Return the key of the part of a config that an error is about; "" if it names none that exists."""
    part = ""
    cause: BaseException | None = error
    while cause is not None:  # the innermost error knows best
        if isinstance(cause, UserError):
            part = cause.part or part
        elif match := FULL_KEY.search(str(cause)):
            part = re.sub(r"\[(\d+)\]", r".\1", match[1])
        cause = cause.__cause__
    key = key_to_set(content, part)
    return key if select(content, key) is not None else ""


def builds(node: Any, name: str) -> bool:
    """Tell whether a node of a config builds an object of the class, or calls the function, of this name."""
    return isinstance(node, dict) and str(node.get("_target_")).rpartition(".")[2] == name


def arguments_of(content: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield (name, key) of each argument of a node, and then of those of its parts."""
    node = select(content, key)
    if isinstance(node, dict):
        arguments = {name: key_to_set(content, f"{key}.{name}") for name in map(str, node) if not name.startswith("_")}
        yield from arguments.items()
        for part in arguments.values():
            yield from arguments_of(content, part)
