"""What all commands share: compose the config, say what is wrong in one line, leave a record of the run."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import UserError
from src.help_page import help_page


def command(name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make ``main(config)`` a command that reads conf/NAME.yaml and the overrides of the command line.

    Faults of the user (config, data, values) end in one line on standard error and exit status 2. The full traceback is
    there for the asking: HYDRA_FULL_ERROR=1.
    """

    # Hydra is told to hand errors on instead of printing a page of its own; what the user asked for is kept here.
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"

    @contextmanager
    def one_line_errors() -> Iterator[None]:
        try:
            yield
        except (HydraException, OmegaConfBaseException, UserError) as error:
            if full:
                raise
            from src.config_errors import explain

            print(f"error: {explain(error, name)}", file=sys.stderr)
            sys.exit(2)

    def decorate(main: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(main)
        def job(config: DictConfig) -> Any:
            from src.config_errors import check_values
            from src.provenance import save_record

            with one_line_errors():
                check_values(config, name)
                save_record(config)
                return main(config)

        @functools.wraps(main)
        def run() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"
            register_resolvers()
            with one_line_errors():
                hydra.main(version_base="1.3", config_path="../conf", config_name=name)(job)()

        return run

    return decorate


def register_resolvers() -> None:
    """Functions that conf/ calls."""
    OmegaConf.register_new_resolver("slug", slug, replace=True)
    OmegaConf.register_new_resolver("help_page", help_page, replace=True)


def slug(overrides: str) -> str:
    """Overrides as part of a folder's name: short, and nothing in it that a shell or Hydra wants quoted."""
    return re.sub(r"[^\w.+]+", "-", overrides)[:100].strip("-") or "default"
