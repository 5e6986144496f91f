"""Check the jobs of a multirun before the first one begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, flag_override

from src.cli.config.complete import check_config
from src.system.errors import UserError


def check_jobs(config: DictConfig) -> None:
    """Check each value that a multirun sweeps over, in one job, without reading data.

    The jobs of other sweepers than Hydra's basic one, such as Optuna, are not known beforehand and not checked.

    Args:
        config: the config of the multirun, with the node ``hydra``.

    Raises:
        UserError: if a job has an unknown key, a wrong value or no checkpoint.
        HydraException, OmegaConfBaseException: if a job cannot be composed.
    """
    if config.hydra.sweeper._target_.rpartition(".")[2] != BasicSweeper.__name__:
        return
    before = HydraConfig.instance().cfg
    try:
        for overrides in jobs_to_check(config):
            job = GlobalHydra.instance().config_loader().load_sweep_config(config, overrides)
            with flag_override(job, ["readonly", "struct"], False):
                job.hydra.job.update(num=0, id="0")
                job.hydra.runtime.output_dir = config.hydra.sweep.dir
                HydraConfig.instance().set_config(job)
                del job["hydra"]
            check_config(job, overrides)
    finally:
        HydraConfig.instance().cfg = before


def check_numbers_of_jobs(config: DictConfig) -> None:
    """Check how many jobs run at once: joblib rejects 0 only when the jobs begin, and with it Optuna never ends.

    Args:
        config: the config of the multirun, with the node ``hydra``.

    Raises:
        UserError: if a number is wrong.
    """
    launcher, sweeper = (config.hydra[part].get("n_jobs", 1) for part in ("launcher", "sweeper"))
    if launcher == 0:
        raise UserError("hydra.launcher.n_jobs=0: must be a whole number, not 0; -1 is one for each core")
    if sweeper < 1:
        raise UserError(f"hydra.sweeper.n_jobs={sweeper}: must be a whole number, 1 or more")


def task_overrides(config: DictConfig) -> list[str]:
    """Return the overrides of a multirun as the user wrote them: references in them are not resolved."""
    overrides: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    return list(overrides)


def jobs_to_check(config: DictConfig) -> Iterator[list[str]]:
    """Yield the overrides of jobs that together have every value of every key; all others only combine them anew."""
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    parsed = OverridesParser.create().parse_overrides([*params, *task_overrides(config)])
    checked: set[str] = set()
    for (job,) in BasicSweeper.split_arguments(parsed, max_batch_size=1):
        if not checked.issuperset(job):
            checked.update(job)
            yield list(job)
