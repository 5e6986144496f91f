"""What all commands share: compose the config, say what is wrong in one line, leave a record of the run."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from src.errors import UserError
from src.resolvers import register_resolvers

USER_ERRORS = (HydraException, OmegaConfBaseException, UserError)


def command(name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make ``main(config)`` a command that reads conf/NAME.yaml and the overrides of the command line.

    Faults of the user (config, data, values) and of the disk (full, read-only) end in one line on standard error and
    exit status 2. The full traceback is there for the asking: HYDRA_FULL_ERROR=1. In a multirun a failed job does not
    end the others; see src.sweep.
    """

    # Hydra is told to hand errors on instead of printing a page of its own; what the user asked for is kept here.
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    begun = False

    @contextmanager
    def one_line_errors() -> Iterator[None]:
        try:
            yield
        except user_errors() as error:
            if full:
                raise
            from src.config_errors import explain

            leave(explain(error, name, sys.argv[1:]))
        except (OSError, ValueError, TypeError) as error:  # logging makes a ValueError of a log that cannot be opened
            from src.config_errors import explain_disk, explain_start

            said = explain_disk(error, begun) or ("" if begun else explain_start(error, name, sys.argv[1:]))
            if full or not said:
                raise
            leave(said)

    def decorate(main: Callable[[DictConfig], Any]) -> Callable[[], None]:
        def work(config: DictConfig) -> Any:
            from src.config_checks import check_values
            from src.config_structure import check_structure, compose_groups
            from src.provenance import save_record

            overrides = HydraConfig.get().overrides.task
            defaults = compose_groups(name, overrides)
            check_structure(config, defaults, overrides)
            check_values(config, defaults, overrides)
            save_record(config)
            return main(config)

        @functools.wraps(main)
        def job(config: DictConfig) -> Any:
            nonlocal begun
            from src.run_folder import alone_in
            from src.sweep import attempt

            begun = True
            folder = Path(HydraConfig.get().runtime.output_dir)
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                with alone_in(folder):
                    return attempt(config, work, functools.partial(described, name=name))
            with one_line_errors(), alone_in(folder):
                return work(config)

        @functools.wraps(main)
        def run() -> None:
            from src.sweep_results import summarised

            os.environ["HYDRA_FULL_ERROR"] = "1"
            register_resolvers()
            with summarised(), one_line_errors():
                hydra.main(version_base="1.3", config_path="../conf", config_name=name)(job)()

        return run

    return decorate


def leave(said: str) -> NoReturn:
    """In one line, whatever characters an override has brought into it."""
    line = "".join(character if character.isprintable() else repr(character)[1:-1] for character in said)
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)


def user_errors() -> tuple[type[BaseException], ...]:
    """Faults of the user, Lightning's among them where it is loaded."""
    lightning = sys.modules.get("lightning.fabric.utilities.exceptions")
    return (*USER_ERRORS, lightning.MisconfigurationException) if lightning else USER_ERRORS


def described(error: BaseException, name: str) -> str:
    """One line for any error: what to mend where it is one of the user's, its type besides where it is not."""
    from src.config_errors import explain, one_line

    if isinstance(error, user_errors()):
        return explain(error, name, HydraConfig.get().overrides.task)
    return f"{type(error).__name__}: {one_line(str(error))}"
