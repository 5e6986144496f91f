"""Functions that the YAML files in conf/ call."""

import os
import re

from omegaconf import OmegaConf

from src.system.files import expand_path


def register_resolvers() -> None:
    """Register the functions with OmegaConf; every process that composes a config has to call this."""
    OmegaConf.register_new_resolver("slug", slug, replace=True)
    OmegaConf.register_new_resolver("expand_path", lambda path: str(expand_path(path)), replace=True)


def slug(overrides: str) -> str:
    """Return overrides as part of a folder's name: short, without special characters and without the home folder."""
    return re.sub(r"[^\w.+]+", "-", overrides.replace(os.path.expanduser("~/"), ""))[:100].strip("-") or "default"
