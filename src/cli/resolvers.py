"""Functions that conf/ calls."""

import os
import re

from omegaconf import OmegaConf

from src.system.files import expand_path


def register_resolvers() -> None:
    """Once in every process that composes a config."""
    OmegaConf.register_new_resolver("slug", slug, replace=True)
    OmegaConf.register_new_resolver("expand_path", lambda path: str(expand_path(path)), replace=True)


def slug(overrides: str) -> str:
    """Overrides as part of a folder's name: short, nothing in it that a shell or Hydra wants quoted, no home folder."""
    return re.sub(r"[^\w.+]+", "-", overrides.replace(os.path.expanduser("~/"), ""))[:100].strip("-") or "default"
