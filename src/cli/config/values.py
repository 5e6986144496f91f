"""Check the values of a composed config before PyTorch and Lightning are imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.cli.config.rules import Rule, is_number
from src.cli.config.rules_by_key import rule_of
from src.cli.overrides import as_written, key_of
from src.system.dotted_keys import walk
from src.system.errors import UserError

LARGEST_NUMBER = {int: 2**63 - 1, float: 1e38}  # 64-bit integers, 32-bit floats


def check_values(config: DictConfig, defaults: DictConfig, overrides: Sequence[str]) -> None:
    """Check the types of overrides against the defaults, and all values against their rules and each other.

    Args:
        config: the composed config.
        defaults: the config with group choices applied, but no other overrides.
        overrides: the overrides on the command line.

    Raises:
        UserError: with the key, the value and the valid values.
    """
    content: Any = OmegaConf.to_container(config, resolve=True)
    values = dict(walk(content))
    command = content.get("command", "")
    for key in [key_of(override) for override in overrides if not override.startswith("~")]:
        default, value = OmegaConf.select(defaults, key), values.get(key)
        if fault := find_wrong_type(key, default, value, rule_of(key, command)):
            raise UserError(f"{key}={as_written(value)}: {key} {fault}")
    for key, value in values.items():
        if is_number(value) and not abs(value) <= (largest := LARGEST_NUMBER[type(value)]):  # false for NaN too
            raise UserError(f"{key}={value}: must be a finite number, from {-largest:g} to {largest:g}")
        if (rule := rule_of(key, command)) and not rule.fits(value):
            words = rule.words if value != "" else "no empty value"
            raise UserError(f"{key}={as_written(value)}: {key} takes {words}")
    check_trainer(content.get("trainer") or {}, content.get("callbacks") or {})
    check_warmup(content.get("scheduler") or {}, content.get("trainer") or {})


def find_wrong_type(key: str, default: Any, value: Any, rule: Rule | None) -> str:
    """Return what a key takes, in words, if a value has another type than the default, and no rule allows it."""
    if rule and rule.fits(value):
        return ""
    if isinstance(default, bool) and not (value is None or isinstance(value, bool) or rule):
        return f"takes true or false, such as {key}={as_written(intended_bool(value, not default))}"
    if is_number(default) and not is_number(value):
        return f"takes a number, such as {key}={default}"
    if isinstance(default, str) and (isinstance(value, list) or (isinstance(value, dict) and "_target_" not in value)):
        return f"takes a string, such as {key}={default}"
    if isinstance(default, DictConfig) and not (value is None or isinstance(value, dict)):
        return f"is a group of keys: {', '.join(map(str, default))}"
    return ""


def intended_bool(value: Any, unclear: bool) -> bool:
    """Return what a value that is neither true nor false most likely means; ``unclear`` if no word tells."""
    word = str(value).lower()
    return word in ("true", "yes", "y", "on", "1") or (unclear and word not in ("false", "no", "n", "off", "0"))


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


def check_warmup(scheduler: dict[str, Any], trainer: dict[str, Any]) -> None:
    """Check that the warm-up of the learning rate ends within the run, if its length is known beforehand.

    Raises:
        UserError: with both keys.
    """
    warmup, steps = scheduler.get("warmup"), trainer.get("max_steps")
    if is_number(warmup) and steps and 0 < steps < warmup:
        raise UserError(
            f"scheduler.warmup={warmup}: is longer than the run of trainer.max_steps={steps}; give fewer steps, or 0 "
            "for no warm-up"
        )
