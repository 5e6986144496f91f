"""How the user starts commands."""

import sys
from pathlib import Path


def as_typed(command: str) -> str:
    """Return a command line in the style this process was started with: deeplab NAME, or python -m src.NAME."""
    started_as = {Path(argument).stem for argument in sys.orig_argv[:2]}  # "python -m ..." or "python BIN/deeplab ..."
    return f"deeplab {command}" if "deeplab" in started_as else f"python -m src.{command}"
