"""Build the loggers of a run, and close Weights & Biases."""

from __future__ import annotations

import logging
import netrc
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger
from omegaconf import DictConfig

from src.runs.csv_logger import set_curve_aside
from src.runs.provenance import shareable_config
from src.system.errors import UserError
from src.system.folder_lock import is_first_process

log = logging.getLogger(__name__)

PREEMPTED = tuple(128 + number for number in (signal.SIGTERM, getattr(signal, "SIGUSR1", signal.SIGTERM)))  # status


def build_loggers(config: DictConfig, wandb_id: str | None = None) -> list[Logger]:
    """Build all loggers of the config, and log the resolved config and provenance to each.

    Args:
        config: config of a training.
        wandb_id: id of the W&B run to continue, unless the config sets one.
    """
    if is_first_process():
        set_curve_aside(Path(config.paths.output_dir) / "csv" / "metrics.csv")
    settings = shareable_config(config)
    chosen = {key: value for key, value in (config.get("logger") or {}).items() if value}
    resumed = {"wandb": {"id": wandb_id}} if wandb_id and "id" not in chosen.get("wandb", {}) else {}
    loggers = [instantiate(value, **resumed.get(key, {})) for key, value in chosen.items()]
    for logger in loggers:
        logger.log_hyperparams(settings)
    return loggers


def wandb_logger(
    save_dir: str,
    offline: bool | None = None,
    name: str | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
    tagged_by: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> WandbLogger:
    """Return a W&B logger that never prompts.

    Without an API key, the run is stored offline; upload it with ``wandb sync``.

    Args:
        save_dir: folder of the run.
        offline: whether to store the run offline; None: if there is no API key.
        name: name of the run; None for its folder's name.
        group: group of the run; None for the sweep's name in a multirun, and no group otherwise.
        tags: tags of the run.
        tagged_by: groups of conf/ whose choices are added to the tags.
        settings: arguments of ``wandb.Settings``.
        options: further arguments of ``WandbLogger`` and ``wandb.init``.
    """
    import wandb

    if offline is None:
        offline = not has_api_key(wandb.Settings().base_url)
        if offline:
            log.warning(
                "W&B: no API key, so the run is offline; upload it with: wandb sync %s/wandb/offline-*", save_dir
            )
    os.environ.setdefault("WANDB_SILENT", "true")
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    if offline:  # keep tables in the run's folder, not in the home folder, until the upload
        os.environ["WANDB_DATA_DIR"] = str(Path(save_dir, "wandb").absolute())
    choices = HydraConfig.get().runtime.choices
    return WandbLogger(
        save_dir=save_dir,
        offline=offline,
        name=name or Path(save_dir).name,
        group=group or sweep_name(),
        tags=[*tags, *(str(choices[choice]) for choice in tagged_by)],
        settings=wandb.Settings(**(settings or {})),
        **options,
    )


def sweep_name() -> str | None:
    """Return DATE/TIME of a multirun, or its folder's name if the user set the folder; None for a single run."""
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    folder = Path(HydraConfig.get().sweep.dir)
    return "/".join(folder.parts[folder.parts.index("multiruns") + 1 :]) if "multiruns" in folder.parts else folder.name


@contextmanager
def closed_wandb() -> Iterator[None]:
    """Close the W&B run after the block: as failed after an error, as preempted after SIGTERM or SIGUSR1.

    Otherwise the jobs of a multirun would share one run.
    """
    exit_code = 1
    try:
        yield
        exit_code = 0
    except SystemExit as error:
        exit_code = error.code if isinstance(error.code, int) else 1
        raise
    finally:
        run = sys.modules["wandb"].run if "wandb" in sys.modules else None
        if run is not None:
            if exit_code in PREEMPTED:  # the run will be resumed under the same id
                run.mark_preempting()
            run.finish(exit_code=exit_code)


def mlflow_logger(save_dir: str, tracking_uri: str, run_name: str | None = None, **options: Any) -> MLFlowLogger:
    """Return an MLflow logger; for an SQLite store, create its folder.

    Args:
        save_dir: folder of the run.
        tracking_uri: a server's URL, or sqlite:///FILE.
        run_name: name of the run; None for its folder's name.
        options: further arguments of ``MLFlowLogger``.

    Raises:
        UserError: if MLflow is not installed.
    """
    scheme, _, path = tracking_uri.partition(":///")
    if scheme == "sqlite":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # hide that it creates the experiment
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        return MLFlowLogger(run_name=run_name or Path(save_dir).name, tracking_uri=tracking_uri, **options)
    except ModuleNotFoundError as error:
        raise UserError('logger=mlflow needs MLflow: pip install "deeplab-v1[mlflow]"') from error


def has_api_key(server: str) -> bool:
    """Tell whether there is an API key in WANDB_API_KEY or the netrc file, where ``wandb login`` writes it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(urlparse(server).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
