"""Values of a composed config that cannot be meant, told before anything heavy is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from types import NoneType
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from src.cli.check_structure import key_of, shown
from src.errors import UserError

Rule = tuple[Callable[[Any], bool], str]


def whole(low: int, high: float = math.inf) -> Rule:
    words = f"a whole number from {low} to {high}" if high < math.inf else f"a whole number, {low} or more"
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high, words


def number(v: Any) -> bool:
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def listed(v: Any) -> bool:
    """A list, or a mapping that does not say what to build."""
    return isinstance(v, ListConfig) or (isinstance(v, DictConfig) and "_target_" not in v)


def maybe(rule: Rule, word: str | None = None) -> Rule:
    """Or null; or this word, if one is given."""
    return lambda v: v == word or rule[0](v), f"{word or 'null'}, or {rule[1]}"


TEXT: Rule = (lambda v: isinstance(v, str) and v != "", "a text; quote what looks like a number: 'KEY=\"2012\"'")
TARGET: Rule = (lambda v: bool(re.fullmatch(r"\w+(\.\w+)+", str(v))), "MODULE.NAME of a class or function")
NUMBER: Rule = (number, "a number")
NUMBERS: Rule = (lambda v: isinstance(v, dict) and all(map(number, v.values())), "numbers, by name")
LARGEST = {int: 2**63 - 1, float: 1e38}  # integers of 64 bits, floats of 32
# Where numbers and texts stand by default, these may too.
ALSO: dict[str, tuple[type, ...]] = {
    "runs": (ListConfig,),
    "crf.sxy": (ListConfig,),
    "dataset.void": (ListConfig, NoneType),
    "callbacks.resume.every_minutes": (NoneType,),
    "inference.window": (NoneType,),
    "trainer.devices": (ListConfig, str),
    **dict.fromkeys(("trainer.max_epochs", "trainer.val_check_interval", "trainer.limit_val_batches"), (NoneType,)),
}
SEED = whole(0, 2**32 - 1)
POSITIVE, COUNT = whole(1), whole(0)
SPLITS = ("train", "val", "test")

# What code of ours or Lightning's would stumble over late or in riddles. All else is checked by constructors, whose
# errors come with the key that they were built from.
RULES: dict[str, Rule] = {
    "seed": SEED,
    "dataset.seed": SEED,
    "data.seed": SEED,
    "callbacks.resume.seed": SEED,
    "dataset.samples": (
        lambda v: isinstance(v, dict) and all(map(COUNT[0], v.values())),
        "whole numbers by split: {train: 500, val: 60}",
    ),
    "scheduler.total_iters": maybe(POSITIVE),
    "optimizer.algorithm": TEXT,
    "optimizer.lr": NUMBER,
    "optimizer.weight_decay": NUMBER,
    "optimizer.multipliers": maybe(NUMBERS),
    "dataset.size": POSITIVE,
    "dataset.root": maybe(TEXT),
    "dataset.cache": maybe(TEXT),
    "data.batch_size": POSITIVE,
    "data.num_workers": maybe(COUNT, "auto"),
    "augmentation.crop_size": POSITIVE,
    "num_workers": maybe(COUNT, "auto"),
    "workers": (lambda v: v in (None, "auto") or COUNT[0](v), "auto, null, or a whole number, 0 or more"),
    "callbacks.crf.workers": maybe(POSITIVE),
    "callbacks.crf.first_n": maybe(POSITIVE),
    "callbacks.crf.every_n_validations": POSITIVE,
    "callbacks.pictures.count": POSITIVE,
    "trainer.devices": (
        lambda v: v == "auto" or whole(-1)[0](v) or (isinstance(v, list) and bool(v) and all(map(COUNT[0], v))),
        "auto, how many, or a list of their numbers: [0,1]",
    ),
    "trainer.max_steps": whole(-1),
    "trainer.max_epochs": maybe(whole(-1)),
    "trainer.val_check_interval": (
        lambda v: v is None or POSITIVE[0](v) or (isinstance(v, float) and 0 < v <= 1),
        "a whole number of iterations, 1 or more",
    ),
    "trainer.limit_val_batches": (
        lambda v: v is None or (number(v) and v > 0),
        "how many, or a share of them; without validation there is no result",
    ),
    "trainer.log_every_n_steps": COUNT,
    "trainer.num_sanity_val_steps": whole(-1),
    "name": maybe(TEXT),
    "ckpt": maybe(TEXT),
    "init_from": maybe(TEXT),
    "input": maybe(TEXT),
    "output": maybe(TEXT),
    "cache": TEXT,
    "downloads": TEXT,
    "evaluations": TEXT,
    "baseline": maybe(TEXT),
    "runs": (lambda v: v is None or TEXT[0](v) or (isinstance(v, list) and all(map(TEXT[0], v))), "a text, or a list"),
    "splits": (lambda v: isinstance(v, list) and bool(v) and all(s in SPLITS for s in v), "a list of train, val, test"),
    "split": (lambda v: v in SPLITS, "train, val or test"),
    "trimap": whole(1, 10_000),
    "size": POSITIVE,
    "num_classes": POSITIVE,
    "images": COUNT,
    "candidates": POSITIVE,
    "refine": whole(0, 20),  # a step is halved each time
    "search.refine": whole(0, 20),
    "held_back": (lambda v: number(v) and 0 <= v < 1, "a share, 0 <= held_back < 1"),
    "grid": (lambda v: isinstance(v, dict) and bool(v), "lists of numbers by parameter: 'grid.sxy=[50,100]'"),
}


def check_values(config: DictConfig, defaults: DictConfig, overrides: Sequence[str]) -> None:
    """Compare values of overrides with the kind of the default that stood there, and all values with the rules.

    Args:
        defaults: the config without the overrides, but for the choices of groups.

    Raises:
        UserError: naming the key, the value and what may stand there.
    """
    for key in [key_of(override) for override in overrides if not override.startswith("~")]:
        default, value = OmegaConf.select(defaults, key), OmegaConf.select(config, key)
        if isinstance(default, bool) and not isinstance(value, (bool, NoneType)):
            raise UserError(f"{key}={shown(value)}: {key} takes true or false, such as {key}={str(default).lower()}")
        if number(default) and not number(value) and not isinstance(value, ALSO.get(key, ())):
            raise UserError(f"{key}={shown(value)}: {key} takes a number, such as {key}={default}")
        if isinstance(default, str) and listed(value) and not isinstance(value, ALSO.get(key, ())):
            raise UserError(f"{key}={shown(value)}: {key} takes a text, such as {key}={default}")
        if isinstance(default, DictConfig) and not (value is None or isinstance(value, DictConfig)):
            raise UserError(f"{key}={shown(value)}: {key} has keys of its own: {', '.join(map(str, default))}")
    content: Any = OmegaConf.to_container(config, resolve=True)
    for key, value in entries(content):
        if number(value) and not abs(value) <= (largest := LARGEST[type(value)]):  # nor nan
            raise UserError(f"{key}={value}: must be a finite number, from {-largest:g} to {largest:g}")
        fits, words = TARGET if key.endswith("_target_") else RULES.get(key, (None, ""))
        if fits and not fits(value):
            raise UserError(f"{key}={shown(value)}: {key} takes {words}")


def entries(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested mappings and lists, the mappings themselves included."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield f"{prefix}{key}", value
        if isinstance(value, (dict, list)):
            yield from entries(value, f"{prefix}{key}.")
