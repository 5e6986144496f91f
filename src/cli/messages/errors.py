"""Turn errors from Hydra, user input and the disk into one line: what is wrong, and what to write instead."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from traceback import walk_tb

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from src.cli.conf_groups import choices, is_group
from src.cli.messages.argument_keys import FULL_KEY, name_keys
from src.cli.messages.overrides import explain_composition, explain_syntax
from src.cli.messages.unknown_key import explain_unknown_key
from src.cli.overrides import key_of, valid_choices
from src.system.address_secrets import hide_secrets
from src.system.addresses import name_addresses
from src.system.command_name import as_typed
from src.system.dotted_keys import select
from src.system.errors import UserError, one_line, unwrapped

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
# Parts of Hydra's and OmegaConf's messages
TARGET = re.compile(r"call to target '([^']+)'")
NOT_FOUND = re.compile(r"'([\w.]+)' not found")
RESOLVING = re.compile(r"^\w+ raised while resolving interpolation: ")
TRACEBACK_HINT = "(HYDRA_FULL_ERROR=1 prints the traceback)"


def explain(error: BaseException, name: str, overrides: Sequence[str], config: DictConfig | None = None) -> str:
    """Return a one-line description of an error from Hydra, OmegaConf or user input, without secrets of addresses.

    Args:
        error: the error.
        name: name of the command.
        overrides: the overrides on the command line.
        config: config of the job that failed; None if it failed before the config was composed.
    """
    return hide_secrets(name_addresses(explain_by_type(error, name, overrides, config)))


def explain_by_type(error: BaseException, name: str, overrides: Sequence[str], config: DictConfig | None) -> str:
    """Return the description that fits the type of an error; the arguments are those of ``explain``."""
    if not str(error).strip():
        return reason_of(error)
    if isinstance(error, InstantiationException):
        message = explain_instantiation(error, config)
        return message if config is None else add_origin(message, overrides, config)
    if isinstance(error, UserError):
        message = one_line(str(error))
        if config is None:
            return add_download(message)
        return add_origin(add_download(name_keys(message, error, config)[0]), overrides, config)
    if isinstance(error, OverrideParseException):
        return explain_syntax(error, name)
    if isinstance(error, InterpolationResolutionError):
        return explain_reference(str(error), overrides)
    return explain_composition(error, name, overrides)


def explain_instantiation(error: InstantiationException, config: DictConfig | None) -> str:
    """Return the innermost cause of a failed ``instantiate``, with keys instead of arguments.

    If the message names no argument, it is prefixed with the key of the object that could not be built.
    """
    cause = unwrapped(error, InstantiationException)
    reason = reason_of(cause)
    message, key = name_keys(reason, error, config) if config is not None else (reason, "")
    if isinstance(cause, UserError):
        return add_download(message)
    if message != reason:
        return message
    target = TARGET.search(str(error))
    where = key or (target[1] if target else "")
    return f"{where}{': ' if where else ''}{message} {TRACEBACK_HINT}"


def add_download(message: str) -> str:
    """Return an error message; for a missing data set, also how to download it."""
    dataset = HydraConfig.get().runtime.choices.get("dataset") if HydraConfig.initialized() else None
    if message.startswith("dataset.root=") and dataset in choices("release"):
        return f"{message}, or get the data: {as_typed('prepare')} dataset={dataset}"
    return message


def add_origin(message: str, overrides: Sequence[str], config: DictConfig) -> str:
    """Return a message about KEY=VALUE, after the overrides of other keys from which the value is built."""
    value = str(select(OmegaConf.to_container(config), message.partition("=")[0]))
    used = set(re.findall(r"[\w.]+", " ".join(re.findall(r"\$\{[^}]*\}", value))))
    origins = [f"{override}: " for override in overrides if key_of(override) in used]
    return "".join(origins) + message


def explain_reference(text: str, overrides: Sequence[str]) -> str:
    """Return why a reference ${KEY} has no value, prefixed with the overrides that contain it or remove its key."""
    missing = NOT_FOUND.search(text)
    user = FULL_KEY.search(text)
    if missing and user and (removing := [o for o in overrides if missing[1].startswith(f"{key_of(o)}.")]):
        return f"{' '.join(removing)}: has no {missing[1]}, which {user[1]} needs"
    culprits = [o for o in overrides if "${" in o.partition("=")[2] or (missing and key_of(o) == missing[1])]
    reason = RESOLVING.sub("", one_line(text.split("full_key")[0])).strip('"')
    hint = f"; the environment's variable is ${missing[1]}" if missing and missing[1] in os.environ else ""
    return f"{' '.join(culprits)}{': ' if culprits else ''}{reason}{hint}"


def explain_start(error: BaseException, name: str, overrides: Sequence[str]) -> str:
    """Return a one-line description of an error that Hydra raises before a job starts; "" if no override caused it.

    The cause is a choice that is not a string, a list index, or a setting of a sweep's launcher or sweeper.
    """
    valid = [key_of(o) for o in valid_choices(overrides)]
    choosing = [o for o in overrides if is_group(key_of(o)) and "(" not in o]  # without functions such as glob(*)
    if invalid := [o for o in choosing if key_of(o) not in valid]:
        return " ".join(invalid) + ": a group takes the name of one of its choices; --help lists them"
    if isinstance(error, ValueError) and "invalid literal for int" in str(error):
        return next((line for o in overrides if (line := explain_unknown_key(key_of(o), name, overrides))), "")
    if "hydra.sweeper.params" in map(key_of, overrides):
        return "hydra.sweeper.params: write what to sweep over as overrides, such as -m optimizer.lr=0.1,0.01"
    if {"-m", "--multirun"} & set(overrides):
        return f"{type(error).__name__}: {one_line(str(error))} {TRACEBACK_HINT}"
    return ""


def explain_disk(error: BaseException, begun: bool) -> str:
    """Return a one-line description of a disk or file error; "" for other errors.

    Args:
        error: the error.
        begun: whether a job has started. Before that, only the run's folder and log are created, so every ``OSError``
            is about these.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    if cause is None:
        return ""
    if begun and cause.errno not in DISK_ERRORS:
        where = f"{cause.filename}: " if cause.filename else ""
        return f"{where}{cause.strerror or reason_of(cause)} {TRACEBACK_HINT}"
    where = cause.filename or (HydraConfig.get().runtime.output_dir if HydraConfig.initialized() else "paths.log_dir")
    remedy = "make room or choose" if cause.errno in (errno.ENOSPC, errno.EDQUOT) else "choose"
    return f"{where}: {cause.strerror or reason_of(cause)}; {remedy} another paths.log_dir"


def explain_library(error: BaseException) -> str:
    """Return a one-line description of an error that Lightning or ``torch.optim`` raised; "" for other errors."""
    frames = list(walk_tb(error.__traceback__))
    raised_by = frames[-1][0].f_globals.get("__name__", "") if frames else ""
    if raised_by.startswith("torch.optim.") and isinstance(error, (ValueError, TypeError, ArithmeticError)):
        key = "scheduler" if raised_by == "torch.optim.lr_scheduler" else "optimizer"
        return f"{key}: {reason_of(error)} {TRACEBACK_HINT}"
    is_check = isinstance(error, (ValueError, TypeError, RuntimeError)) and raised_by.partition(".")[0] == "lightning"
    return f"{reason_of(error)} {TRACEBACK_HINT}" if is_check else ""


def reason_of(error: BaseException) -> str:
    """Return an error's message in one line, or its type if it has no message."""
    return one_line(str(error)) or f"{type(error).__name__} without a message {TRACEBACK_HINT}"
