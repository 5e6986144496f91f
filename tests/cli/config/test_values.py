"""Values that Lightning would ignore, or reject without naming the key."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from src.cli.config.values import check_values
from src.system.errors import UserError


def check(**trainer: Any) -> None:
    config = OmegaConf.create({"trainer": trainer})
    check_values(config, config, [])


@pytest.mark.parametrize(
    ("trainer", "line"),
    [
        ({"check_val_every_n_epoch": 0}, "=0: .* takes null, or a whole number, 1 or more"),
        ({"max_time": "00:00:00:00"}, "max_time takes null, or DD:HH:MM:SS"),
        ({"max_time": {"hours": -1}}, "max_time takes"),
        ({"max_time": {"hours": 0}}, "max_time takes"),
        ({"max_time": {"hour": 1}}, "max_time takes"),
        ({"max_time": {"hours": "one"}}, "max_time takes"),
        ({"limit_train_batches": 1.5}, "limit_train_batches takes null, or a number of batches, or a fraction"),
        ({"overfit_batches": 1.5}, "overfit_batches takes"),
        ({"min_steps": 10, "max_steps": 3}, "trainer.min_steps=10: is more than trainer.max_steps=3"),
        ({"min_epochs": 4, "max_epochs": 2}, "trainer.min_epochs=4: is more than trainer.max_epochs=2"),
        ({"gradient_clip_algorithm": "norm"}, "no effect without trainer.gradient_clip_val"),
        ({"deterministic": "maybe"}, "takes true, false or warn"),
        ({"benchmark": 2}, "takes null, or true or false"),
        ({"profiler": 8}, "takes null, or simple, advanced"),
        ({"profiler": "quick"}, "takes null, or simple, advanced"),
        ({"enable_progress_bar": "no"}, "takes null, or true or false"),
        ({"fast_dev_run": -1}, "takes true, false, or a number of batches"),
        ({"barebones": True}, "leave it false"),
        ({"val_check_interval": 0.5}, "needs trainer.check_val_every_n_epoch=1"),
    ],
)
def test_settings_that_would_have_no_effect(trainer: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        check(**trainer)


def test_a_warm_up_that_outlasts_the_run() -> None:
    for steps in (100, -1, 0):
        config = OmegaConf.create({"trainer": {"max_steps": steps}, "scheduler": {"warmup": 100}})
        check_values(config, config, [])
    config = OmegaConf.create({"trainer": {"max_steps": 99}, "scheduler": {"warmup": 100}})
    with pytest.raises(UserError, match=r"^scheduler.warmup=100: is longer than the run of trainer.max_steps=99"):
        check_values(config, config, [])


@pytest.mark.parametrize(
    "trainer",
    [
        {"max_time": {"hours": 11, "minutes": 30.5}},
        {"max_time": "00:11:00:00"},
        {"max_time": None},
        {"min_steps": 10, "max_steps": -1},
        {"min_epochs": 2, "max_epochs": None},
        {"min_epochs": 2, "max_epochs": 2},
        {"gradient_clip_algorithm": "value", "gradient_clip_val": 1},
        {"val_check_interval": 0.5, "check_val_every_n_epoch": 1},
        {"limit_train_batches": 2},
        {"limit_val_batches": 1.0},
        {"overfit_batches": 0.0},
        {"deterministic": "warn"},
        {"profiler": "simple"},
        {"profiler": {"_target_": "lightning.pytorch.profilers.AdvancedProfiler"}},
        {"fast_dev_run": 2},
    ],
)
def test_settings_that_have_an_effect(trainer: dict[str, Any]) -> None:
    check(**trainer)


@pytest.mark.parametrize(
    ("key", "callback"),
    [("enable_checkpointing", "best"), ("enable_checkpointing", "last"), ("enable_progress_bar", "progress")],
)
def test_a_callback_that_the_trainer_refuses_is_named(key: str, callback: str) -> None:
    config = OmegaConf.create({"trainer": {key: False}, "callbacks": {callback: {"a": 1}, "other": {"a": 1}}})
    with pytest.raises(UserError, match=f"trainer.{key}=false: .* add callbacks.{callback}=null$"):
        check_values(config, config, [])


@pytest.mark.parametrize(
    ("key", "value"),
    [("power", -1), ("power", 0), ("step_size", 0), ("step_size", 1.5), ("gamma", -0.1), ("T_max", 0), ("eta_min", -1)],
)
def test_a_schedule_of_torch_that_fails_only_at_a_later_step_is_refused(key: str, value: float) -> None:
    config = OmegaConf.create({"scheduler": {"_target_": "torch.optim.lr_scheduler.PolynomialLR", key: value}})
    with pytest.raises(UserError, match=f"^scheduler.{key}={value}: scheduler.{key} takes a"):
        check_values(config, config, [])
