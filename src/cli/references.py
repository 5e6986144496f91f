"""Follow the references ${KEY} of a config."""

from __future__ import annotations

import re
from typing import Any

from src.system.dotted_keys import select

REFERENCE = re.compile(r"\$\{([\w.]+)\}")  # a value that is a reference; the group is the key that it refers to


def key_to_set(content: Any, key: str) -> str:
    """Return the key that sets the value at a key: model.head.kernel -> head.kernel, since model.head is ${head}.

    Args:
        content: an unresolved config, as nested dicts and lists.
        key: a dotted key.
    """
    parts = key.split(".")
    for depth in range(1, len(parts) + 1):
        if reference := REFERENCE.fullmatch(str(select(content, ".".join(parts[:depth])))):
            return key_to_set(content, ".".join([reference[1], *parts[depth:]]))
    return key
