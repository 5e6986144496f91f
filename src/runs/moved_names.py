"""New names of classes and functions that have moved, for configs of old runs."""

from __future__ import annotations

import re
from typing import Any

MOVED = {  # old module or class -> new one; configs and checkpoints name classes by their module
    "src.optim.PolynomialWarmupLR": "src.training.schedules.PolynomialWarmupLR",
    "src.training.optim.PolynomialWarmupLR": "src.training.schedules.PolynomialWarmupLR",
    "src.callbacks.ResumeCheckpoint": "src.training.resume.ResumeCheckpoint",
    "src.training.callbacks.ResumeCheckpoint": "src.training.resume.ResumeCheckpoint",
    "src.callbacks": "src.training.callbacks",
    "src.data.datamodule": "src.training.datamodule",
    "src.losses": "src.training.losses",
    "src.optim": "src.training.optim",
}
OLD_NAME = re.compile(rf"({'|'.join(map(re.escape, MOVED))})(?=\.|$)")


def with_new_names(config: Any) -> Any:
    """Return a config of nested dicts and lists in which every ``_target_`` has its current name."""
    if isinstance(config, dict):
        return {
            key: OLD_NAME.sub(lambda match: MOVED[match[1]], value)
            if key == "_target_" and isinstance(value, str) and OLD_NAME.match(value)
            else with_new_names(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return [with_new_names(value) for value in config]
    return config
