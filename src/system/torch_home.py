"""The folder in which PyTorch, and this project, keep what they have downloaded."""

import os
from pathlib import Path


def hub_folder() -> Path:
    """Return ``torch.hub.get_dir()``, without importing PyTorch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))), "hub")
