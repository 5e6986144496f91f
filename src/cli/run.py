"""Run a command: compose and check the config, record the run, call the entry point, report errors in one line."""

from __future__ import annotations

import copy
import functools
import os
import select
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from src import __version__
from src.cli.arguments import arrange_arguments, check_arguments
from src.cli.conf_folder import CONF
from src.cli.config.ckpt_keys import require_checkpoint
from src.cli.config.complete import complete_config
from src.cli.config_sources import register_config_sources
from src.cli.help_page import help_page
from src.cli.messages.errors import explain, explain_disk, explain_library, explain_start, reason_of
from src.cli.resolvers import register_resolvers
from src.cli.run_folder import discard_run_folder
from src.cli.sweep.jobs import run_job
from src.cli.sweep.results import summarise_multirun
from src.runs.provenance import save_record
from src.system.errors import UserError, printable
from src.system.folder_lock import exclusive_folder, is_first_process
from src.system.signals import find_stop, handle_stop_signals

BUG = (
    "This is a bug in this project, or in a class of your own that it calls. Please report it with the lines above and "
    "what deeplab doctor prints; CONTRIBUTING.md says how."
)
USER_ERRORS = (HydraException, OmegaConfBaseException, UserError)


def run_command(name: str, entry_point: str) -> None:
    """Run a command with the overrides on the command line; see ``src.cli.command``.

    Args:
        name: name of the command, as in ``python -m src.NAME``.
        entry_point: "MODULE:FUNCTION"; the function takes the config.
    """
    if page := version_or_help(name, sys.argv[1:]):
        with end_on_closed_output():
            print(page)
        return
    # Remember the user's value. Other processes of a training inherit the value that the first one sets here.
    show_tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1" and is_first_process()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them
    sys.argv[1:] = arrange_arguments(sys.argv[1:])
    register_resolvers()
    register_config_sources()
    command = RunningCommand(name, entry_point, show_tracebacks)
    with command.one_line_errors():
        check_arguments(sys.argv[1:], name)

    def job(config: DictConfig) -> Any:
        return command.run(config)

    job.__module__ = f"src.{name}"  # Hydra derives the job's name from it
    with end_on_closed_output(), summarise_multirun(), command.one_line_errors():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()


class RunningCommand:
    """Runs the job of a command, or the jobs of a multirun, and reports errors in one line.

    Args:
        name: name of the command.
        entry_point: "MODULE:FUNCTION"; the function takes the config.
        show_tracebacks: whether to raise errors instead of printing one line.
    """

    def __init__(self, name: str, entry_point: str, show_tracebacks: bool) -> None:
        self.name = name
        self.entry_point = entry_point
        self.show_tracebacks = show_tracebacks
        self.has_begun = False  # whether Hydra has started a job

    def run(self, config: DictConfig) -> Any:
        """Lock the job's folder, run the job, and return its value."""
        self.has_begun = True
        warnings.filterwarnings("ignore", "Image size .* exceeds limit")  # Pillow's; such images are refused
        folder = Path(HydraConfig.get().runtime.output_dir)
        composed = copy.deepcopy(config)  # for messages: building the parts of a config replaces its references
        with handle_stop_signals():  # again, because joblib runs jobs in other processes
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                with exclusive_folder(folder):
                    explain_job = functools.partial(describe_error, name=self.name, config=composed)
                    return run_job(config, self.call_entry_point, explain_job)
            with self.one_line_errors(composed), exclusive_folder(folder):
                try:
                    return self.call_entry_point(config)
                except user_errors():
                    discard_run_folder(f"{self.name}.log")
                    raise

    def call_entry_point(self, config: DictConfig) -> float | None:
        """Check and record the config, call the entry point, and return the value that a sweeper maximises."""
        config = complete_config(config, HydraConfig.get().overrides.task)
        require_checkpoint(config)
        save_record(config)
        result = load_entry_point(self.entry_point)(config)
        return result if isinstance(result, float) else None

    @contextmanager
    def one_line_errors(self, config: DictConfig | None = None) -> Iterator[None]:
        """Print an error from the block in one line and exit with status 2.

        A bug is printed with its traceback, and the exit status is 1.

        Args:
            config: config of the job in the block; None around all jobs.
        """
        try:
            yield
        except user_errors() as error:
            if self.show_tracebacks or find_stop(error):
                raise
            exit_with_error(explain(error, self.name, sys.argv[1:], config))
        except BrokenPipeError:  # handled by end_on_closed_output
            raise
        except Exception as error:
            if self.show_tracebacks or find_stop(error):
                raise
            if line := explain_other_error(error, self.has_begun, self.name):
                exit_with_error(line)
            traceback.print_exc()
            print(BUG, file=sys.stderr)
            sys.exit(1)


def version_or_help(name: str, arguments: Sequence[str]) -> str:
    """Return what --version or --help prints; "" if neither is among the arguments."""
    if "--version" in arguments:
        return f"deeplab {__version__}"
    return help_page(name) if {"--help", "-h"} & set(arguments) else ""


def explain_other_error(error: Exception, begun: bool, name: str) -> str:
    """Return a one-line description of an error from the disk, Lightning or Hydra; "" for a bug.

    Args:
        error: the error.
        begun: whether a job has started.
        name: name of the command.
    """
    if line := explain_disk(error, begun) or explain_library(error):
        return line
    return "" if begun else explain_start(error, name, sys.argv[1:])


def load_entry_point(entry_point: str) -> Callable[[DictConfig], Any]:
    """Import and return the function "MODULE:FUNCTION"."""
    module, _, function = entry_point.partition(":")
    return getattr(import_module(module), function)


@contextmanager
def end_on_closed_output() -> Iterator[None]:
    """Exit silently if the reader of standard output closes the pipe, as ``| head`` does.

    The exit status is 141, as after SIGPIPE. Errors from other pipes, such as a worker's, are raised.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich exits on a broken pipe
            sys.exit(141)
        raise
    except BrokenPipeError:
        if not is_reader_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail again
        sys.exit(141)


def is_reader_gone() -> bool:
    """Tell whether standard output is a pipe whose reader has closed it."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def exit_with_error(message: str) -> NoReturn:
    """Print an error message in one line and exit with status 2; characters that cannot be printed are escaped."""
    print(f"error: {printable(message)}", file=sys.stderr)
    sys.exit(2)


def user_errors() -> tuple[type[BaseException], ...]:
    """Return the types of errors that the user can correct, including Lightning's if it is imported."""
    lightning = sys.modules.get("lightning.fabric.utilities.exceptions")
    return (*USER_ERRORS, lightning.MisconfigurationException) if lightning else USER_ERRORS


def describe_error(error: BaseException, name: str, config: DictConfig) -> str:
    """Return a one-line description of any error: with the remedy if the user can correct it, or with its type."""
    if isinstance(error, user_errors()):
        return explain(error, name, HydraConfig.get().overrides.task, config)
    return f"{type(error).__name__}: {reason_of(error)}"
