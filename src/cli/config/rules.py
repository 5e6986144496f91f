"""Rules for the values of keys: which values are valid, in code and in words, and which are paths."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Rule:
    """What a key takes.

    Attributes:
        fits: tells whether a value is valid.
        words: the valid values, for messages: "KEY takes WORDS".
        is_path: whether the value is a path, to expand ~ and variables.
        written: what the command writes at the path, which is tried before it starts; "" if it only reads it.
        names: values that are no paths but names, such as "last".
    """

    fits: Callable[[Any], bool]
    words: str
    is_path: bool = False
    written: Literal["", "folder", "file"] = ""
    names: tuple[str, ...] = ()


def integer_between(low: int, high: float = math.inf) -> Rule:
    """Return the rule for integers in a range, both ends included."""
    words = f"a whole number from {low} to {high}" if high < math.inf else f"a whole number, {low} or more"
    return Rule(lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high, words)


def one_of(*values: str) -> Rule:
    """Return the rule for a choice of strings."""
    return Rule(lambda v: v in values, " or ".join([", ".join(values[:-1]), values[-1]]))


def list_of(rule: Rule, words: str = "a list") -> Rule:
    """Return the rule for lists that are not empty, of values that fit a rule."""
    return Rule(lambda v: isinstance(v, list) and bool(v) and all(map(rule.fits, v)), words)


def either(first: Rule, second: Rule) -> Rule:
    """Return the rule for values that fit one of two rules."""
    return Rule(lambda v: first.fits(v) or second.fits(v), f"{first.words}, or {second.words}")


def or_null(rule: Rule) -> Rule:
    """Return a rule that also allows null."""
    return replace(rule, fits=lambda v: v is None or rule.fits(v), words=f"null, or {rule.words}")


def or_auto(rule: Rule) -> Rule:
    """Return a rule that also allows "auto"."""
    return replace(rule, fits=lambda v: v == "auto" or rule.fits(v), words=f"auto, or {rule.words}")


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; bools are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_fraction_or_count(value: Any) -> bool:
    """Tell whether a value is a fraction of the batches, up to 1.0, or a number of batches, 1 or more."""
    return is_number(value) and value > 0 and (isinstance(value, int) or value <= 1)


def is_duration(value: Any) -> bool:
    """Tell whether a value is a positive duration in a form that Lightning's Timer accepts."""
    if isinstance(value, dict):
        units = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")
        return set(value) <= set(units) and all(is_number(v) and v >= 0 for v in value.values()) and any(value.values())
    return bool(re.fullmatch(r"\d+:\d\d:\d\d:\d\d", str(value)) and re.search("[1-9]", str(value)))


ANYTHING = Rule(lambda v: True, "anything")
STRING = Rule(
    lambda v: isinstance(v, str) and v != "",
    "a string; quote a value that looks like a number: 'KEY=\"2012\"'",
)
TARGET = Rule(lambda v: bool(re.fullmatch(r"\w+(\.\w+)+", str(v))), "MODULE.NAME of a class or function")
BOOL = Rule(lambda v: isinstance(v, bool), "true or false")
NUMBER = Rule(is_number, "a number")
ABOVE_ZERO = Rule(lambda v: is_number(v) and v > 0, "a number above 0")
ZERO_OR_MORE = Rule(lambda v: is_number(v) and v >= 0, "a number, 0 or more")
BATCHES = Rule(is_fraction_or_count, "a number of batches, or a fraction up to 1.0")
POSITIVE, COUNT = integer_between(1), integer_between(0)

PATH = replace(STRING, is_path=True)
FOLDER = replace(PATH, written="folder")
FILE = replace(PATH, written="file")
