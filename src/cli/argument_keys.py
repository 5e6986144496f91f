"""Replace argument names in error messages with command-line keys: "kernel=0" -> "head.kernel=0".

A component knows its arguments but not the config it was built from. Its config node is the one whose ``_target_`` is
the class or function that raised the error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from traceback import walk_tb
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.system.dotted_keys import walk
from src.system.errors import name_settings

REFERENCE = re.compile(r"\$\{([\w.]+)\}")  # a reference; the key inside it is the one to set


def name_keys(message: str, error: BaseException, config: DictConfig) -> tuple[str, str]:
    """Return the message with keys instead of arguments, and the key of the object that raised the error.

    "KEY=None:" becomes "KEY=null:", as on the command line. The key is "" if no object of the config raised the error.
    """
    content = OmegaConf.to_container(config)  # unresolved: each node then has only the key that sets it
    nodes = [key_to_set(content, key) for key in raising_nodes(error, content)]
    keys: dict[str, str] = {}
    for key in nodes:
        keys = {**argument_keys(content, key), **keys}
    message = re.sub(r"(?<==)None(?=:)", "null", name_settings(message, keys))
    return message, nodes[0] if nodes else ""


def raising_nodes(error: BaseException, content: Any) -> Iterator[str]:
    """Yield the keys of the nodes whose objects raised the error, innermost first."""
    nodes = {key: node["_target_"] for key, node in walk(content) if isinstance(node, dict) and "_target_" in node}
    hydra_node = node_of_hydra(error, content, nodes)
    for package, name in callers(error):
        matches = [k for k, target in nodes.items() if re.fullmatch(rf"{package}\.([\w.]+\.)?{name}", str(target))]
        if matches:
            yield hydra_node if hydra_node in matches else matches[0]
    if hydra_node:
        yield hydra_node


def node_of_hydra(error: BaseException, content: Any, nodes: Iterable[str]) -> str:
    """Return the key of the node named in Hydra's message, which is not always the innermost; "" if it names none.

    The key in the message is relative to the part of the config that Hydra instantiated.
    """
    if not (match := re.search(r"full_key: (\S+)", str(error))):
        return ""
    key = key_to_set(content, re.sub(r"\[(\d+)\]", r".\1", match[1]))
    return next((node for node in nodes if f".{node}".endswith(f".{key}")), "")


def callers(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield (top package, name) of each function in an error's traceback, and of its first argument's class."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    for exception in reversed(chain):
        if call := re.match(r"(?:\w+\.)*?(\w+)(?:\.__init__)?\(\) (?:got|missing|takes)", str(exception)):
            yield r"\w+", call[1]  # a call with wrong arguments is not in the traceback
        for frame, _ in reversed(list(walk_tb(exception.__traceback__))):
            code = frame.f_code
            yield frame.f_globals.get("__name__", "").partition(".")[0], re.escape(code.co_name)
            if code.co_argcount:
                kind = type(frame.f_locals.get(code.co_varnames[0]))
                yield kind.__module__.partition(".")[0], kind.__name__


def argument_keys(content: Any, key: str) -> dict[str, str]:
    """Return the key of each argument of a node and of its parts; the node's own arguments take precedence."""
    node = select(content, key)
    if not isinstance(node, dict):
        return {}
    arguments = {name: key_to_set(content, f"{key}.{name}") for name in map(str, node) if not name.startswith("_")}
    parts: dict[str, str] = {}
    for part in arguments.values():
        parts = {**argument_keys(content, part), **parts}
    return {**parts, **arguments}


def key_to_set(content: Any, key: str) -> str:
    """Return the key that sets the value at a key: model.head.kernel -> head.kernel, since model.head is ${head}."""
    parts = key.split(".")
    for depth in range(1, len(parts) + 1):
        if reference := REFERENCE.fullmatch(str(select(content, ".".join(parts[:depth])))):
            return key_to_set(content, ".".join([reference[1], *parts[depth:]]))
    return key


def select(content: Any, key: str) -> Any:
    """Return the value at a dotted key in nested mappings and lists; None if it does not exist."""
    for part in key.split("."):
        if isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        elif isinstance(content, dict):
            content = content.get(part)
        else:
            return None
    return content
