"""Read nested mappings, such as configs, by dotted key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flattened(nested: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for every leaf value: {a: {b: 1}} gives ("a.b", 1). Empty mappings are leaves."""
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def walk(nested: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for every dict, list and value; a dict or list comes before its content.

    {a: [1, 2]} gives ("a", [1, 2]), ("a.0", 1), ("a.1", 2).
    """
    for key, value in nested.items() if isinstance(nested, dict) else enumerate(nested):
        yield f"{prefix}{key}", value
        if isinstance(value, (dict, list)):
            yield from walk(value, f"{prefix}{key}.")


def select(nested: Any, key: str) -> Any:
    """Return the value at a dotted key in nested dicts and lists; None if it does not exist."""
    for part in key.split("."):
        if isinstance(nested, list) and part.isdecimal() and int(part) < len(nested):
            nested = nested[int(part)]
        elif isinstance(nested, dict):
            nested = nested.get(part)
        else:
            return None
    return nested
