"""What it takes to make a run again, saved beside its results."""

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

PACKAGES = ("torch", "lightning", "hydra-core", "torchmetrics", "albumentations", "numpy", "pydensecrf2", "wandb")


def save_record(config: DictConfig) -> None:
    """Write config.yaml (resolved) and environment.json (commit, versions, command) to the run's folder."""
    if any(os.environ.get(name, "0") != "0" for name in ("LOCAL_RANK", "SLURM_PROCID")):
        return  # the first process of several has done so
    folder = Path(HydraConfig.get().runtime.output_dir)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    record = {
        "command": [f"python -m src.{config.command}", *HydraConfig.get().overrides.task],
        "git_commit": git("rev-parse", "HEAD"),
        "git_changes": git("status", "--porcelain").splitlines(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": {name: version(name) for name in PACKAGES},
    }
    (folder / "environment.json").write_text(json.dumps(record, indent=2) + "\n")


def git(*arguments: str) -> str:
    """What git says of the code's own checkout; empty outside one."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
