"""Weights & Biases without surprises; the other loggers are Lightning's as they are."""

import logging
import netrc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch.loggers import WandbLogger

log = logging.getLogger(__name__)


def wandb_logger(save_dir: str, offline: bool | None = None, **options: Any) -> WandbLogger:
    """A W&B logger that never prompts: without a key it writes offline, for ``wandb sync`` to upload later.

    Args:
        save_dir: folder of the run.
        offline: None asks whether there is a key.
        options: of ``WandbLogger`` and ``wandb.init``.
    """
    if offline is None:
        offline = not has_key()
        if offline:
            log.warning(
                "W&B: no API key, so the run stays offline; upload: wandb sync %s/wandb/offline-run-*", save_dir
            )
    os.environ.setdefault("WANDB_SILENT", "true")
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    return WandbLogger(save_dir=save_dir, offline=offline, **options)


@contextmanager
def finished_wandb() -> Iterator[None]:
    """Close the W&B run with the block, as failed where it failed; the jobs of a multirun would share one otherwise."""
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        if "wandb" in sys.modules and sys.modules["wandb"].run is not None:
            sys.modules["wandb"].finish(exit_code=exit_code)


def has_key() -> bool:
    """An API key from WANDB_API_KEY, or from ``wandb login``, which writes it to the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc().authenticators(host or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
