"""Check the values of a composed config before PyTorch and Lightning are imported."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from src.cli.check_structure import as_written, key_of
from src.runs.checkpoints import has_version, is_requeued, why_no_file
from src.runs.networks import network_names
from src.system.addresses import is_address
from src.system.dotted_keys import walk
from src.system.errors import UserError

Rule = tuple[Callable[[Any], bool], str]  # a predicate for valid values, and a description of them


def integer_between(low: int, high: float = math.inf) -> Rule:
    """Return the rule for integers in a range, both ends included."""
    words = f"a whole number from {low} to {high}" if high < math.inf else f"a whole number, {low} or more"
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high, words


def or_null(rule: Rule) -> Rule:
    """Return a rule that also allows null."""
    return lambda v: v is None or rule[0](v), f"null, or {rule[1]}"


def or_auto(rule: Rule) -> Rule:
    """Return a rule that also allows "auto"."""
    return lambda v: v == "auto" or rule[0](v), f"auto, or {rule[1]}"


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


def is_list(value: Any) -> bool:
    """Tell whether a value is a list, or a mapping that builds no object."""
    return isinstance(value, ListConfig) or (isinstance(value, DictConfig) and "_target_" not in value)


STRING: Rule = (
    lambda v: isinstance(v, str) and v != "",
    "a string; quote a value that looks like a number: 'KEY=\"2012\"'",
)
TARGET: Rule = (lambda v: bool(re.fullmatch(r"\w+(\.\w+)+", str(v))), "MODULE.NAME of a class or function")
BOOL: Rule = (lambda v: isinstance(v, bool), "true or false")
ABOVE_ZERO: Rule = (lambda v: is_number(v) and v > 0, "a number above 0")
ZERO_OR_MORE: Rule = (lambda v: is_number(v) and v >= 0, "a number, 0 or more")
POSITIVE, COUNT = integer_between(1), integer_between(0)
SEED = integer_between(0, 2**32 - 1)
SPLITS = ("train", "val", "test")
LARGEST = {int: 2**63 - 1, float: 1e38}  # 64-bit integers, 32-bit floats

# Further types of keys whose default is a number or a string.
OTHER_TYPES: dict[str, tuple[type, ...]] = {
    "runs": (ListConfig,),
    "crf.sxy": (ListConfig,),
    "dataset.void": (ListConfig, NoneType),
    "callbacks.resume.every_minutes": (NoneType,),
    "inference.window": (NoneType,),
    "trainer.devices": (ListConfig, str),
    "trainer.deterministic": (str,),
    "trainer.fast_dev_run": (int,),
    **dict.fromkeys(("trainer.max_epochs", "trainer.val_check_interval", "trainer.limit_val_batches"), (NoneType,)),
}

# The project's constructors check their own arguments, and src.cli.argument_keys adds the keys to their messages.
# These rules cover the rest: values that Hydra reads as another type than intended, values that Lightning and PyTorch
# would reject late or with an unclear message, objects that are built only during training, and keys that belong to no
# object.
RULES: dict[str, Rule] = {
    # Strings that may look like a number or a list
    **dict.fromkeys(
        ("name", "ckpt", "init_from", "input", "output", "baseline", "push", "license", "storage"), or_null(STRING)
    ),
    **dict.fromkeys(("from", "images_from", "format", "unlabelled"), or_null(STRING)),
    **dict.fromkeys(("dataset.root", "dataset.cache"), or_null(STRING)),
    **dict.fromkeys(("cache", "downloads", "evaluations", "shard"), STRING),
    "runs": (
        lambda v: v is None or STRING[0](v) or (isinstance(v, list) and all(map(STRING[0], v))),
        "a string, or a list of strings",
    ),
    "memory_format": (
        lambda v: v in ("auto", "channels_last", "contiguous"),
        "auto, channels_last or contiguous",
    ),
    # Lightning and torch
    **dict.fromkeys(("seed", "dataset.seed", "data.seed", "callbacks.resume.seed"), SEED),
    "trainer.devices": (
        lambda v: (
            v == "auto"
            or (integer_between(-1)[0](v) and v != 0)
            or (isinstance(v, list) and bool(v) and all(map(COUNT[0], v)))
        ),
        "auto, a number of devices, or a list of indices: [0,1]",
    ),
    "trainer.max_steps": integer_between(-1),
    "trainer.max_epochs": or_null(integer_between(-1)),
    "trainer.val_check_interval": (
        lambda v: v is None or POSITIVE[0](v) or (isinstance(v, float) and 0 < v <= 1),
        "a whole number of steps, 1 or more",
    ),
    "trainer.limit_val_batches": or_null(
        (is_fraction_or_count, "a number of batches, or a fraction up to 1.0; without validation there is no result")
    ),
    "trainer.limit_train_batches": or_null((is_fraction_or_count, "a number of batches, or a fraction up to 1.0")),
    "trainer.overfit_batches": (
        lambda v: v == 0 or is_fraction_or_count(v),
        "a number of batches, or a fraction up to 1.0",
    ),
    "trainer.num_nodes": POSITIVE,
    "trainer.plugins": or_null((lambda v: isinstance(v, list), "a list of plugins, each with its _target_")),
    "trainer.accumulate_grad_batches": POSITIVE,
    "trainer.gradient_clip_val": or_null(ABOVE_ZERO),
    "trainer.max_time": or_null((is_duration, "DD:HH:MM:SS, or a mapping such as '{hours: 11, minutes: 30}'")),
    "trainer.log_every_n_steps": COUNT,
    "trainer.deterministic": (lambda v: v is None or isinstance(v, bool) or v == "warn", "true, false or warn"),
    **dict.fromkeys(
        ("trainer.benchmark", "trainer.enable_checkpointing", "trainer.enable_progress_bar"), or_null(BOOL)
    ),
    "trainer.profiler": or_null(
        (
            lambda v: v in ("simple", "advanced", "pytorch", "xla") or (isinstance(v, dict) and "_target_" in v),
            "simple, advanced, pytorch or xla, or an object with its _target_",
        )
    ),
    "trainer.model_registry": or_null(STRING),
    "trainer.fast_dev_run": (lambda v: BOOL[0](v) or COUNT[0](v), "true, false, or a number of batches"),
    "trainer.num_sanity_val_steps": integer_between(-1),
    # PyTorch's schedulers divide by these, or make the learning rate negative
    "scheduler.total_iters": or_null(POSITIVE),
    **dict.fromkeys(("scheduler.step_size", "scheduler.T_max", "scheduler.T_0", "scheduler.total_steps"), POSITIVE),
    **dict.fromkeys(("scheduler.power", "scheduler.gamma"), ABOVE_ZERO),
    "scheduler.eta_min": ZERO_OR_MORE,
    # Numbers whose default is null, which does not show their type
    **dict.fromkeys(("trainer.min_steps", "trainer.min_epochs"), or_null(COUNT)),
    "trainer.check_val_every_n_epoch": or_null(POSITIVE),
    **dict.fromkeys(("callbacks.crf.workers", "callbacks.crf.first_n"), or_null(POSITIVE)),
    "callbacks.early_stopping.patience": COUNT,
    "callbacks.resume.every_n_steps": or_null(POSITIVE),
    # Keys of a command
    "num_workers": or_auto(COUNT),
    "workers": or_null(or_auto(COUNT)),
    "splits": (lambda v: isinstance(v, list) and bool(v) and all(s in SPLITS for s in v), "a list of train, val, test"),
    "split": (lambda v: v in SPLITS, "train, val or test"),
    "trimap": integer_between(1, 10_000),
    **dict.fromkeys(("size", "num_classes", "candidates"), POSITIVE),
    "images": COUNT,
    "examples": or_null(STRING),
    "host": STRING,
    "port": integer_between(0, 65_535),
    "side": integer_between(1, 4096),
    "megabytes": ABOVE_ZERO,
}


def check_values(config: DictConfig, defaults: DictConfig, overrides: Sequence[str]) -> None:
    """Check override types against the defaults, all values against the rules, and that checkpoints exist.

    Args:
        config: the composed config.
        defaults: the config with group choices applied, but no other overrides.
        overrides: the overrides on the command line.

    Raises:
        UserError: with the key, the value and the valid values.
    """
    for key in [key_of(override) for override in overrides if not override.startswith("~")]:
        default, value = OmegaConf.select(defaults, key), OmegaConf.select(config, key)
        if expected := expected_type(key, default, value):
            raise UserError(f"{key}={as_written(value)}: {key} {expected}")
    content: Any = OmegaConf.to_container(config, resolve=True)
    for key, value in walk(content):
        if is_number(value) and not abs(value) <= (largest := LARGEST[type(value)]):  # false for NaN too
            raise UserError(f"{key}={value}: must be a finite number, from {-largest:g} to {largest:g}")
        fits, words = TARGET if key.endswith("_target_") else RULES.get(key, (None, ""))
        if fits and not fits(value):
            raise UserError(f"{key}={as_written(value)}: {key} takes {words}")
    check_trainer(content.get("trainer") or {}, content.get("callbacks") or {})
    check_checkpoints(content)


def check_trainer(trainer: dict[str, Any], callbacks: dict[str, Any]) -> None:
    """Check that no trainer setting disables another setting or contradicts a callback.

    Raises:
        UserError: with both keys.
    """
    for unit in ("steps", "epochs"):
        least, most = trainer.get(f"min_{unit}") or 0, trainer.get(f"max_{unit}")
        if most not in (None, -1) and least > most:
            raise UserError(f"trainer.min_{unit}={least}: is more than trainer.max_{unit}={most}")
    if trainer.get("gradient_clip_algorithm") and not trainer.get("gradient_clip_val"):
        raise UserError(
            f"trainer.gradient_clip_algorithm={trainer['gradient_clip_algorithm']}: has no effect without "
            "trainer.gradient_clip_val"
        )
    interval = trainer.get("val_check_interval")
    if isinstance(interval, float) and not trainer.get("check_val_every_n_epoch"):
        raise UserError(
            f"trainer.val_check_interval={interval}: is a fraction of an epoch, which needs "
            "trainer.check_val_every_n_epoch=1; give a whole number of steps otherwise"
        )
    if trainer.get("barebones"):
        raise UserError("trainer.barebones=true: measures no metrics and saves nothing; leave it false")
    for key, names in {"enable_checkpointing": ("best", "last"), "enable_progress_bar": ("progress",)}.items():
        if trainer.get(key) is False and (active := [f"callbacks.{n}=null" for n in names if callbacks.get(n)]):
            raise UserError(f"trainer.{key}=false: contradicts callbacks that are set; add {' '.join(active)}")


def expected_type(key: str, default: Any, value: Any) -> str:
    """Return what a key takes, in words, if a value does not have the type of the default; "" if it does."""
    if isinstance(value, OTHER_TYPES.get(key, ())):
        return ""
    if isinstance(default, bool) and not isinstance(value, (bool, NoneType)):
        return f"takes true or false, such as {key}={str(default).lower()}"
    if is_number(default) and not is_number(value):
        return f"takes a number, such as {key}={default}"
    if isinstance(default, str) and is_list(value):
        return f"takes a string, such as {key}={default}"
    if isinstance(default, DictConfig) and not (value is None or isinstance(value, DictConfig)):
        return f"is a group of keys: {', '.join(map(str, default))}"
    return ""


def check_checkpoints(content: dict[str, Any]) -> None:
    """Check that the files of ckpt and init_from exist; for ckpt, its previous version is enough.

    Raises:
        UserError: with the key and the file.
    """
    ckpt, init_from = content.get("ckpt"), content.get("init_from")
    if is_requeued():  # the job resumes from its own checkpoint
        return
    if ckpt and not is_address(ckpt) and not has_version(Path(ckpt)):
        raise UserError(
            f"ckpt={ckpt}: {why_no_file(ckpt)}; give the best.ckpt or last.ckpt of a run, last for the newest, "
            f"an address, or a network that comes with the package: {', '.join(network_names())}"
        )
    if init_from and not ckpt and not is_address(init_from) and not Path(init_from).is_file():
        raise UserError(f"init_from={init_from}: {why_no_file(init_from)}; give the checkpoint of a trained network")
